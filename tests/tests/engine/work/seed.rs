//! The payload of 2023, as it stood.

use clb_tests::Setup;
use clb_tests::images::debian;

#[tokio::test]
async fn the_first_payload_of_all_prints_its_sum() {
    let image = debian().await;
    let cluster = Setup::new().workers(1).start().await;
    let made = cluster.clb(&["pool", "set", "python", "--image", image], "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let payload = "import time; n, a, b = 1, 3, 4; time.sleep(n); print(a + b)";
    let ran =
        cluster.clb(&["submit", "--pool", "python", "--wait", "--", "python3", "-c", payload], "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "7\n"), "{ran:?}");
}
