//! The links of workers.

use futures::{StreamExt, stream};

use super::*;
use crate::leader::Message;
use crate::ndjson::line;

#[tokio::test]
async fn the_link_of_a_worker_that_goes_on_speaking_ends_with_the_term() {
    let mut bench = Bench::start();
    let app = app(&bench);
    let hello = bench.hello().await;
    let said = stream::iter([Ok::<_, std::convert::Infallible>(line(&hello))]).chain(stream::pending());
    let request = Request::post("/link/v1/worker").header("host", "127.0.0.1:3002");
    let request = request.body(Body::from_stream(said)).unwrap();
    let answer = timeout(PATIENCE, app.oneshot(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    bench.handle.tell(Message::StepDown).await;
    bench.end().await;
    timeout(PATIENCE, answer.into_body().collect()).await.expect("the worker is left in the dark").unwrap();
}
