//! A build that is killed again and again, at any moment: no folder passes `verify` unless it is whole, and the next run
//! works and writes the same bytes as one that was never disturbed. So it is with `merge`.
//!
//! `CRASHES` says how often each is killed: a dozen times, if it is not set; `scripts/crash` asks for 200.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::workplace::{JOKES, Outcome, Workplace};

const FLAGS: [&str; 7] =
    ["--configs", "a", "--write_json", "--ledger", "ledger.jsonl.gz", "--threads", "2"];

type Files = BTreeMap<String, Vec<u8>>;

/// A work folder with jokes of this kind.
fn workplace() -> Workplace {
    Workplace::with_datasets("[joke]")
}

/// Jokes, of which there are as many in each version: what is mixed of two outputs fits together at first sight.
fn write_jokes(workplace: &Workplace, version: &str) {
    let text = "a joke that keeps a tokenizer busy for a while; ".repeat(20);
    let row = |i| format!("{{\"joke\": \"{version} {i}\", \"explaination\": \"{text}{i}\"}}\n");
    workplace.write(JOKES, (0..600).map(row).collect::<String>());
}

/// Every file of the output.
fn output(workplace: &Workplace) -> Files {
    let names = workplace.files("out").into_iter();
    names.map(|name| (name.clone(), workplace.read(&format!("out/{name}")))).collect()
}

fn end(command: &mut Command) -> Outcome {
    Outcome::of(command.output().expect("the program can be started"))
}

/// How far a run is waited for before it is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Any,
    Writing,
    Finishing,
}

/// Kills a run at a random moment; whether there was one to kill.
fn kill(workplace: &Workplace, child: &mut Child, length: Duration, random: u64) -> bool {
    let moments = [Moment::Any, Moment::Writing, Moment::Finishing, Moment::Finishing];
    let moment = moments[usize::try_from(random >> 8 & 3).expect("below four")];
    let partial = workplace.path().join(".out.partial");
    let is_there = || match moment {
        Moment::Any => true,
        Moment::Writing => partial.exists(),
        Moment::Finishing => partial.join("manifest.json").exists(),
    };
    while !is_there() && child.try_wait().expect("a child").is_none() {
        thread::yield_now();
    }
    let share = u32::try_from(random >> 32).expect("32 bits");
    let longest = match moment {
        Moment::Any => length,
        Moment::Writing => length / 4,
        Moment::Finishing => Duration::from_millis(4),
    };
    thread::sleep(longest.mul_f64(f64::from(share) / f64::from(u32::MAX)));
    let met = child.try_wait().expect("a child").is_none();
    child.kill().expect("it was started here");
    child.wait().expect("a child");
    met
}

/// Kills `run` while it writes the one or the other of two outputs, over nothing or over an older one.
fn check(workplace: &Workplace, prepare: impl Fn(&str), run: impl Fn() -> Command) {
    let crashes: u64 = std::env::var("CRASHES").map_or(12, |it| it.parse().expect("a number"));
    let mut whole = Vec::new();
    let mut length = Duration::ZERO;
    for version in ["one", "two"] {
        prepare(version);
        let begun = Instant::now();
        end(&mut run()).ok();
        length = begun.elapsed();
        whole.push(output(workplace));
    }
    assert!(whole[0].keys().eq(whole[1].keys()) && whole[0] != whole[1]);
    let (mut met, mut random) = (0, 42_u64);
    for i in 0..crashes {
        // Knuth's linear congruential sequence, so that a failure can be had again.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let version = usize::try_from(random >> 40 & 1).expect("a bit");
        prepare(["one", "two"][version]);
        if random >> 41 & 1 == 0 {
            let _ = fs::remove_dir_all(workplace.path().join("out"));
        }
        let mut child = run().spawn().expect("the program can be started");
        met += u64::from(kill(workplace, &mut child, length, random));
        let verified = end(&mut workplace.subcommand("verify", &["out"]));
        if verified.code == Some(0) {
            assert!(whole.contains(&output(workplace)), "kill {i}: {}", verified.out);
        }
        if i % 4 == 3 || verified.code != Some(0) {
            end(&mut run()).ok();
            assert!(output(workplace) == whole[version], "kill {i}: other bytes");
            assert!(!workplace.path().join(".out.partial").exists(), "kill {i}: something is left");
        }
    }
    assert!(4 * met > crashes, "only {met} of {crashes} kills met a process");
}

#[test]
fn whatever_moment_a_build_is_killed_at_only_whole_folders_pass() {
    let workplace = workplace();
    check(&workplace, |version| write_jokes(&workplace, version), || workplace.command(&FLAGS));
}

#[test]
fn whatever_moment_a_merge_is_killed_at_only_whole_folders_pass() {
    let workplace = workplace();
    for version in ["one", "two"] {
        write_jokes(&workplace, version);
        for part in ["1/2", "2/2"] {
            workplace.run(&[&FLAGS[..], &["--part", part]].concat()).ok();
        }
        let [from, to] = ["out.parts", version].map(|it| workplace.path().join(it));
        fs::rename(from, to).expect("it was built");
    }
    let chosen = std::cell::Cell::new("");
    let prepare = |version: &str| chosen.set(if version == "one" { "one" } else { "two" });
    check(&workplace, prepare, || workplace.subcommand("merge", &[chosen.get()]));
}
