//! A run that is killed again and again, at any moment, always goes on from the newest checkpoint that was finished, and
//! ends as a run that was never killed; so does a run of two ranks, of which one is killed, or both, and one whose launcher
//! starts it again itself.
//!
//! `CRASHES` says how often each is killed: a dozen times, if it is not set, and with a launcher that restarts a third of it
//! and at most 20 times; `scripts/crash` asks for 200.

mod launched;
mod tiny_run;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use launched::ranks_of;
use tiny_run::{TinyRun, fails, succeeds};
use trainer::checkpoint;

/// The trainer on so many ranks.
fn train(run: &TinyRun, ranks: usize, out: &str, more: &[&str]) -> Command {
    if ranks == 1 {
        return run.train(out, more);
    }
    let mut command = run.command("launch");
    command.args(["--nproc", &ranks.to_string(), "--", "train", "--config", "train.yaml"]);
    command.args(["--out", out]).args(more);
    command
}

/// Kills the run: its only process, or of several one or all, as the number says. Whether there was one to kill.
fn kill(child: &mut Child, ranks: usize, random: u64) -> bool {
    if ranks == 1 {
        child.kill().expect("it was started here");
        return true;
    }
    // A launcher that was not followed by its ranks yet would make the whole run after a kill that meets nobody.
    let mut victims = ranks_of(child);
    while victims.is_empty() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(1));
        victims = ranks_of(child);
    }
    if !random.is_multiple_of(3) && !victims.is_empty() {
        victims = vec![victims[usize::try_from(random / 3).unwrap_or(0) % victims.len()]];
    }
    // One that has ended by itself meanwhile is no mistake.
    !victims.is_empty() && launched::kill("-KILL", &victims)
}

/// How often to kill.
fn crashes() -> u64 {
    std::env::var("CRASHES").map_or(12, |it| it.parse().expect("a number"))
}

/// The next of Knuth's linear congruential sequence, so that a failure can be had again.
fn draw(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *random
}

/// Two checkpoints hold the same masters and moments.
#[track_caller]
fn check_same(one: &Path, other: &Path) {
    let record = checkpoint::open(other).expect("whole");
    let tensors = |path| checkpoint::tensors(path, &record).expect("readable");
    for (a, b) in tensors(one).iter().zip(&tensors(other)) {
        for name in a.names() {
            assert_eq!(a.tensor(name).expect("there"), b.tensor(name).expect("there"), "{name}");
        }
    }
}

#[track_caller]
fn check(ranks: usize) {
    let crashes = crashes();
    let steps = 4 * crashes;
    let run = TinyRun::new(
        u32::try_from(steps).expect("a few"),
        "checkpoint: {every: 1, keep: 2}\nparallel: {timeout: 60}\n",
    );
    let out = run.path("run");
    let (mut killed, mut hit, mut before, mut random) = (0, 0, 0, 42_u64);
    while killed < crashes && before < steps {
        let said = fs_err::File::create(run.path("said")).expect("created").into_file();
        let mut child = train(&run, ranks, "run", &[])
            .stderr(Stdio::from(said))
            .spawn()
            .expect("the program starts");
        // Some die before they have begun to train, most somewhere in a step or while something is saved.
        let random = draw(&mut random);
        let begun =
            || fs_err::read_to_string(run.path("said")).is_ok_and(|it| it.contains("step "));
        while !random.is_multiple_of(8) && !begun() && child.try_wait().expect("a child").is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random >> 32 & 0x1_ffff));
        hit += u64::from(kill(&mut child, ranks, random >> 16));
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
    assert!(2 * hit > crashes, "only {hit} of {crashes} kills met a process");
    succeeds(&mut train(&run, ranks, "run", &[]));
    succeeds(&mut train(&run, ranks, "whole", &["--set", "checkpoint.every=null"]));
    let [run_end, whole_end] = ["run", "whole"].map(|out| checkpoint::path(&run.path(out), steps));
    check_same(&run_end, &whole_end);
    fails(&mut train(&run, ranks, "run", &["--set", "seed=2"]), 2, &["`seed`: 1234 -> 2"]);
}

#[test]
fn whatever_moment_a_run_is_killed_at_its_newest_checkpoint_is_whole() {
    check(1);
}

#[test]
fn whichever_rank_is_killed_at_whatever_moment_the_newest_checkpoint_is_whole() {
    check(2);
}

/// Stops a process; false if it ended before.
fn is_stopped(pid: u32) -> bool {
    launched::kill("-STOP", &[pid]);
    loop {
        let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:\t"));
        match state.and_then(|it| it.chars().next()) {
            Some('T') => return true,
            None | Some('Z' | 'X') => return false,
            Some(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn a_launcher_that_restarts_ends_where_an_undisturbed_run_does_however_often_a_rank_is_killed() {
    // Each takes some seconds: those that are left are given a moment to end by themselves.
    let crashes = (crashes() / 3).min(20);
    let steps = 60 * crashes;
    let run = TinyRun::new(
        u32::try_from(steps).expect("a few"),
        "checkpoint: {every: 5, keep: 2}\nparallel: {timeout: 60}\nlogging: {every: 1000000}\n",
    );
    let mut command = run.command("launch");
    command.args(["--nproc", "2", "--max-restarts", &crashes.to_string()]);
    command.args(["--", "train", "--config", "train.yaml", "--out", "run"]);
    let said = fs_err::File::create(run.path("said")).expect("created").into_file();
    let mut launcher = command.stderr(Stdio::from(said)).spawn().expect("the program starts");
    let (mut killed, mut random, mut before) = (0, 7_u64, Vec::new());
    while killed < crashes && launcher.try_wait().expect("a child").is_none() {
        // Those of the last attempt end by themselves, at the latest when they are given up.
        let gone = Instant::now();
        let mut ranks = ranks_of(&launcher);
        while ranks.len() < 2 || ranks.iter().any(|rank| before.contains(rank)) {
            if launcher.try_wait().expect("a child").is_some() {
                break;
            }
            assert!(gone.elapsed() < Duration::from_secs(60), "{before:?} have not ended");
            std::thread::sleep(Duration::from_millis(5));
            ranks = ranks_of(&launcher);
        }
        // While they start, find each other, load, train and save.
        let random = draw(&mut random);
        std::thread::sleep(Duration::from_micros(random >> 32 & 0xf_ffff));
        let victim = ranks.get(usize::try_from(random >> 16 & 1).expect("0 or 1"));
        // One that has just ended can still be sent a signal; one that is stopped cannot end before it is killed.
        if victim.is_some_and(|it| is_stopped(*it) && launched::kill("-KILL", &[*it])) {
            killed += 1;
        }
        before = ranks;
    }
    let status = launcher.wait().expect("a child");
    let said = String::from_utf8(run.bytes("said")).expect("text");
    assert!(status.success(), "{said}");
    assert!(2 * killed > crashes, "only {killed} of {crashes} kills met a rank");
    // One clear error each time, and nothing else is one.
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let clear = |error: &&&str| error.contains(" was killed by signal 9");
    assert_eq!(errors.iter().filter(clear).count() as u64, killed, "{said}");
    assert_eq!(errors.len() as u64, killed, "{said}");

    succeeds(&mut train(&run, 2, "whole", &["--set", "checkpoint.every=null"]));
    let [run_end, whole_end] = ["run", "whole"].map(|out| checkpoint::path(&run.path(out), steps));
    check_same(&run_end, &whole_end);
}
