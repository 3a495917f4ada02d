//! A run that is killed again and again, at any moment, always goes on from the newest checkpoint that was finished, and
//! ends as a run that was never killed.
//!
//! `CRASHES` says how often it is killed: a dozen times, if it is not set; `scripts/crash` asks for 200.

mod tiny_run;

use std::process::Stdio;
use std::time::Duration;

use tiny_run::{TinyRun, fails, succeeds};
use trainer::checkpoint;

#[test]
fn whatever_moment_a_run_is_killed_at_its_newest_checkpoint_is_whole() {
    let crashes: u64 = std::env::var("CRASHES").map_or(12, |it| it.parse().expect("a number"));
    let steps = 4 * crashes;
    let run =
        TinyRun::new(u32::try_from(steps).expect("a few"), "checkpoint: {every: 1, keep: 2}\n");
    let out = run.path("run");
    let (mut killed, mut before, mut random) = (0, 0, 42_u64);
    while killed < crashes && before < steps {
        let said = fs_err::File::create(run.path("said")).expect("created").into_file();
        let mut child =
            run.train("run", &[]).stderr(Stdio::from(said)).spawn().expect("the program starts");
        // Some die before they have begun to train, most somewhere in a step or while something is saved. What is drawn
        // is Knuth's linear congruential sequence, so that a failure can be had again.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let begun =
            || fs_err::read_to_string(run.path("said")).is_ok_and(|it| it.contains("step "));
        while random % 8 != 0 && !begun() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random >> 32 & 0x1_ffff));
        child.kill().expect("it was started here");
        child.wait().expect("a child");
        killed += 1;

        let said = String::from_utf8(run.bytes("said")).expect("text");
        let announced = said.lines().filter_map(|line| line.split("/step-").nth(1));
        let announced = announced.filter_map(|it| it.get(..7)?.parse::<u64>().ok()).max();
        let Some(newest) = checkpoint::latest(&out).expect("readable") else {
            assert_eq!((before, announced), (0, None), "{said}");
            continue;
        };
        let record = checkpoint::open(&newest).expect("whole, with the right hashes");
        let step = record.state().step;
        assert!(step >= before.max(announced.unwrap_or_default()), "{step}, {before}, {said}");
        before = step;
    }
    succeeds(&mut run.train("run", &[]));
    succeeds(&mut run.train("whole", &["--set", "checkpoint.every=null"]));
    for file in ["model.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors"] {
        let bytes = |out: &str| run.bytes(format!("{out}/checkpoints/step-{steps:07}/{file}"));
        assert!(bytes("run") == bytes("whole"), "{file}");
    }
    fails(&mut run.train("run", &["--set", "seed=2"]), 2, &["`seed`: 1234 -> 2"]);
}
