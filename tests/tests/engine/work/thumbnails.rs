//! A folder of pictures becomes a folder of thumbnails, while workers die.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use clb_protocol::api::WorkerState;
use clb_tests::cluster::expect::container_of;
use clb_tests::images::debian;
use clb_tests::{Cluster, Setup};
use serde_json::json;

const PICTURES: u8 = 200;
const SIZE: (u32, u32) = (1_000, 750);
const SMALL: (u32, u32) = (40, 30);
/// Longer than a replacement takes, so that somebody is there to work.
const BETWEEN_DEATHS: Duration = Duration::from_secs(3);
const SCRIPT: &str = r#"convert "/pictures/$1" -resize 40x30 "/thumbnails/$1" && echo "$1""#;

fn name(number: u8) -> String {
    format!("{number:03}.png")
}

/// The colour of a point at these shares of the width and height.
fn colour(number: u8, x: f64, y: f64) -> [u8; 3] {
    [number, (x * 255.0) as u8, (y * 255.0) as u8]
}

fn draw(folder: &Path, number: u8) {
    let (width, height) = SIZE;
    let share = |at: u32, of: u32| f64::from(at) / f64::from(of - 1);
    let points = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels: Vec<u8> =
        points.flat_map(|(x, y)| colour(number, share(x, width), share(y, height))).collect();
    let file = BufWriter::new(File::create(folder.join(name(number))).unwrap());
    let mut picture = png::Encoder::new(file, width, height);
    picture.set_color(png::ColorType::Rgb);
    picture.set_compression(png::Compression::Fast);
    picture.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// The thumbnail has the right size, and the colours of its picture in the right places.
fn is_right(folder: &Path, number: u8) {
    let file = std::io::BufReader::new(File::open(folder.join(name(number))).unwrap());
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut picture = decoder.read_info().unwrap();
    let mut pixels = vec![0; picture.output_buffer_size().unwrap()];
    let found = picture.next_frame(&mut pixels).unwrap();
    assert_eq!((found.width, found.height), SMALL, "{}", name(number));
    let channels = found.color_type.samples();
    for (x, y) in [(2, 2), (20, 15), (37, 27)] {
        let at = (y * SMALL.0 + x) as usize * channels;
        let share = |at: u32, of: u32| (f64::from(at) + 0.5) / f64::from(of);
        let expected = colour(number, share(x, SMALL.0), share(y, SMALL.1));
        let is_near = |(found, expected): (&u8, &u8)| found.abs_diff(*expected) <= 6;
        let all = pixels[at..at + 3].iter().zip(&expected).all(is_near);
        assert!(all, "{}: {:?} at {x}, {y} instead of {expected:?}", name(number), &pixels[at..at + 3]);
    }
}

/// Kills a worker every few seconds; counts them for whoever gives it up.
async fn kill_workers(cluster: &Cluster, killed: &mut u32) {
    loop {
        tokio::time::sleep(BETWEEN_DEATHS).await;
        let mut workers = cluster.workers().await;
        workers.retain(|it| it.pool.as_str() == "pictures" && it.state == WorkerState::Ready);
        workers.sort_by_key(|worker| worker.generation);
        if let Some(oldest) = workers.first() {
            drop(container_of(oldest).try_do("kill").await);
            *killed += 1;
        }
    }
}

#[tokio::test]
async fn two_hundred_pictures_become_thumbnails_while_workers_are_killed() {
    let image = debian().await;
    let folder = tempfile::Builder::new().prefix("clbt").tempdir_in("/tmp").unwrap();
    let (pictures, thumbnails) = (folder.path().join("pictures"), folder.path().join("thumbnails"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&pictures).unwrap();
    fs::create_dir(&thumbnails).unwrap();
    fs::set_permissions(&thumbnails, fs::Permissions::from_mode(0o777)).unwrap();
    (1..=PICTURES).for_each(|number| draw(&pictures, number));

    let cluster = Setup::new().workers(1).option("CLB_MOUNT_PREFIXES", "/tmp").start().await;
    let mounts = json!([
        {"source": pictures, "target": "/pictures", "read_only": true},
        {"source": thumbnails, "target": "/thumbnails"},
    ]);
    cluster.has_pool("pictures", &json!({"image": image, "workers": 3, "mounts": mounts})).await;

    let names: Vec<String> = (1..=PICTURES).map(name).collect();
    let map = ["map", "--pool", "pictures", "--group", "thumbnails", "--keep-order", "--max-attempts", "20"];
    let command = ["--", "sh", "-c", SCRIPT, "sh", "{}"];
    let (arguments, input) = ([&map[..], &command[..]].concat(), names.join("\n"));
    let mut killed = 0;
    let ran = tokio::select! {
        ran = cluster.clb(&arguments, &input) => ran,
        () = kill_workers(&cluster, &mut killed) => unreachable!("it goes on for ever"),
    };
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), names, "not each of them once and in order");
    assert!(killed > 0, "it was over before anybody died");
    (1..=PICTURES).for_each(|number| is_right(&thumbnails, number));
    let results = cluster.clb(&["results", "--group", "thumbnails", "--json"], "").await;
    assert_eq!(results.stdout.lines().count(), usize::from(PICTURES), "{}", results.stderr);
}
