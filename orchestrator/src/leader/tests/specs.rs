//! What workers are given to run, and what is kept of it until then.

use tokio::sync::oneshot;

use super::*;
use crate::leader::inbox::Submission;

#[tokio::test]
async fn another_task_under_a_known_id_does_not_change_what_is_run() {
    let mut bench = Bench::start();
    let waiting = task();
    let mut other = waiting.clone();
    other.spec.timeout = 7.0;
    assert!(matches!(
        bench.handle.submit(vec![waiting.clone()]).await.unwrap()[..],
        [(_, Submitted::Accepted(_))]
    ));
    assert_eq!(bench.handle.submit(vec![other]).await.unwrap(), [(waiting.id, Submitted::Known)]);
    let mut worker = bench.join().await;
    let WorkerOrder::Run(orders) = worker.hear().await else { panic!("not an order to run") };
    assert_eq!(serde_json::from_str::<TaskSpec>(orders[0].spec.get()).unwrap(), waiting.spec);
}

#[tokio::test]
async fn only_the_specs_of_what_waits_for_a_slot_are_kept() {
    let now = clock::now();
    let Prepared { mut term, store, epoch, handle: _handle, .. } = Prepared::new();
    let submit = |term: &mut Term, tasks: &[NewTask]| {
        let reply = oneshot::channel().0;
        term.submit(Submission::new(tasks.iter().cloned().map(Arc::new).collect(), reply), now);
    };
    let (good, mut nowhere, mut later) = (task(), task(), task());
    nowhere.pool = "gpu".into();
    later.not_before = Some(now.at + Duration::from_hours(1));
    submit(&mut term, &[good.clone(), nowhere, later.clone()]);
    assert_eq!(term.specs.kept(), [good.id]);
    term.handle(Input::Stored(vec![good.id, later.id]), now);

    submit(&mut term, std::slice::from_ref(&good));
    assert_eq!(term.specs.kept(), [good.id], "it is known");
    let known = task();
    submit(&mut term, std::slice::from_ref(&known));
    term.handle(Input::NotStored(vec![known.id]), now);
    assert_eq!(term.specs.kept(), [good.id], "the store knew it");
    term.handle(Input::CancelRequested { ids: vec![good.id, later.id], which: Cancellable::Open }, now);
    assert_eq!(term.specs.kept(), [], "it is cancelled");
    store.release(epoch).unwrap();
}
