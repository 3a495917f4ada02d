//! Many ranks as a user starts them: what a run gives, and how it ends when something happens to a rank.

mod hosts;
mod launched;
mod tiny_run;

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use hosts::Hosts;
use launched::{kill, ranks_of};
use tch::Kind;
use tiny_run::{TinyRun, fails, succeeds};
use trainer::checkpoint::{self, About, Keep};
use trainer::config::Config;
use trainer::ranks::Ranks;
use trainer::run::Run;
use trainer::saver::Saver;

/// Nothing here takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(120);

/// `trainer launch` of so many ranks that train into this folder.
fn launch(run: &TinyRun, nproc: usize, flags: &[&str], out: &str, more: &[&str]) -> Command {
    let mut command = run.command("launch");
    command.args(["--nproc", &nproc.to_string()]).args(flags);
    command.args(["--", "train", "--config", "train.yaml", "--out", out]).args(more);
    command
}

/// One rank of several, started by hand.
fn rank(run: &TinyRun, rank: usize, size: usize, port: u16, more: &[&str]) -> Command {
    as_rank(run.train("run", more), rank, size, port)
}

fn as_rank(mut command: Command, rank: usize, size: usize, port: u16) -> Command {
    let numbers = [("RANK", rank), ("WORLD_SIZE", size), ("MASTER_PORT", port.into())];
    command.envs(numbers.map(|(name, number)| (name, number.to_string())));
    command.env("MASTER_ADDR", "localhost").env("GLOO_SOCKET_IFNAME", "lo");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn checkpoint_of(run: &TinyRun, out: &str, step: u64) -> PathBuf {
    checkpoint::path(&run.path(out), step)
}

/// The files with tensors of two runs of one layout are the same.
#[track_caller]
fn check_same(run: &TinyRun, step: u64, a: &str, b: &str) {
    let files = |out: &str| -> Vec<(OsString, Vec<u8>)> {
        let folder = fs::read_dir(checkpoint_of(run, out, step)).expect("a checkpoint");
        let paths = folder.map(|entry| entry.expect("an entry").path());
        let paths = paths.filter(|it| it.extension().is_some_and(|it| it == "safetensors"));
        let name = |path: &PathBuf| path.file_name().expect("a name").to_owned();
        let mut files: Vec<_> = paths.map(|path| (name(&path), run.bytes(path))).collect();
        files.sort();
        files
    };
    let (a, b) = (files(a), files(b));
    assert!(!a.is_empty() && a.len() == b.len());
    for ((name, a), (other, b)) in a.iter().zip(&b) {
        assert!(name == other && a == b, "{} differs", name.display());
    }
}

/// The largest difference between the weights of two runs.
fn off(run: &TinyRun, step: u64, a: &str, b: &str) -> f64 {
    let weights = |out| checkpoint::open_weights(&checkpoint_of(run, out, step)).expect("whole").0;
    let (a, b) = (weights(a), weights(b));
    assert!(a.names().eq(b.names()));
    a.names()
        .map(|name| {
            let [a, b] = [&a, &b].map(|it| it.tensor(name).expect("there").to_kind(Kind::Double));
            (a - b).abs().max().double_value(&[])
        })
        .fold(0.0, f64::max)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for a process that has to end by itself.
#[track_caller]
fn ends(child: Child) -> Output {
    let started = Instant::now();
    let output = child.wait_with_output().expect("it ends");
    assert!(started.elapsed() < LIMIT, "it took {:?}", started.elapsed());
    output
}

/// Waits until a run has made so many steps.
fn wait_for_steps(run: &TinyRun, out: &str, steps: usize, launcher: &mut Child) {
    let metrics = run.path(format!("{out}/metrics.jsonl"));
    let started = Instant::now();
    while !fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() >= steps) {
        assert!(launcher.try_wait().expect("a child").is_none(), "it ended by itself");
        assert!(started.elapsed() < LIMIT, "no {steps} steps in {:?}", started.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ranks_that_are_to_compute_on_gpus_say_why_they_cannot() {
    if torch_ext::cuda::load() != Err(torch_ext::cuda::NoCuda::NoDriver) {
        return; // a machine with a GPU would rightly use it
    }
    let run = TinyRun::new(8, "precision: fp32\n");
    let words = ["error: rank 0: `device` is `cuda`, but this machine has no NVIDIA driver"];
    fails(&mut launch(&run, 2, &[], "gpus", &["--set", "device=cuda"]), 2, &words);
}

#[test]
#[ignore = "needs a GPU"]
fn a_run_on_gpus_is_stopped_resumed_and_exported_and_is_that_of_a_cpu() {
    let n_gpus = torch_ext::cuda::load().expect("a GPU").min(2);
    let run = TinyRun::new(6, "precision: fp32\n");
    let micro = ["--set", "batch.micro=2", "--set"];
    succeeds(&mut run.train("cpu", &[&micro[..], &["device=cpu"]].concat()));
    for (zero, offload) in [("1", "none"), ("3", "none"), ("1", "optimizer")] {
        let out = format!("gpus-{zero}-{offload}");
        let (zero, offload) = (format!("parallel.zero={zero}"), format!("offload={offload}"));
        let gpus = [&micro[..], &["device=cuda", "--set", &zero, "--set", &offload]].concat();
        let stop = [&gpus[..], &["--stop-after", "3"]].concat();
        succeeds(&mut launch(&run, n_gpus, &[], &out, &stop));
        succeeds(&mut launch(&run, n_gpus, &[], &out, &gpus));
        // Ten times what ranks on CPUs may differ by: the order of every sum is another one.
        let difference = off(&run, 6, "cpu", &out);
        assert!(difference < 1e-3, "{out}: {difference}");
        succeeds(run.command("export").args([&out, "--out", &format!("exported-{out}")]));
    }
}

#[test]
fn ranks_make_the_run_that_one_process_makes_and_go_on_in_any_number() {
    let run = TinyRun::new(8, "precision: fp32\n");
    succeeds(&mut run.train("alone", &["--set", "batch.micro=2"]));
    let micro = ["--set", "batch.micro=2"];
    let output = succeeds(&mut launch(&run, 2, &[], "whole", &micro));
    let text = said(&output);
    assert!(text.contains("2 ranks at ZeRO 1"), "{text}");
    // Rank 0 alone speaks.
    assert_eq!(text.matches("training 0.").count(), 1, "{text}");
    // Sums in another order, eight times: the weights are below 1, and updates of 0.01 at most.
    let difference = off(&run, 8, "alone", "whole");
    assert!(difference < 1e-4, "{difference}");

    // Stopped and resumed it is the same to the bit; and it goes on with another number of ranks, and another sharding.
    let stop = [&micro[..], &["--stop-after", "3"]].concat();
    succeeds(&mut launch(&run, 2, &[], "parts", &stop));
    succeeds(&mut launch(&run, 2, &[], "parts", &micro));
    check_same(&run, 8, "whole", "parts");
    succeeds(&mut launch(&run, 2, &[], "moved", &stop));
    let three = [&micro[..], &["--set", "parallel.zero=3"]].concat();
    succeeds(&mut launch(&run, 3, &[], "moved", &three));
    let difference = off(&run, 8, "alone", "moved");
    assert!(difference < 1e-4, "{difference}");
}

/// Writes a run's checkpoint once more, as one rank would have.
fn save_as_one_rank(run: &TinyRun, step: u64, from: &str, to: &str) {
    let at = |key: &str, path: &str| format!("{key}={}", run.path(path).display());
    let settings = [at("model.base", "base"), at("data.train", "shards/tiny-train")];
    let config = Config::read(&run.path("train.yaml"), &settings).expect("a configuration");
    let Run { config, mut model, mut optimizer, .. } = Run::open(config).expect("a sound run");
    let saved = checkpoint_of(run, from, step);
    let record = checkpoint::open(&saved).expect("whole");
    checkpoint::load(&saved, &record, &mut model, &mut optimizer.moments).expect("read");
    let mut saver = Saver::open(&Ranks::alone(), &run.path(to), 1, model.numel(), 0).expect("room");
    let about = About {
        model: model.config.clone(),
        state: record.state(),
        config: serde_json::to_value(config).expect("JSON"),
        origin: record.origin().clone(),
    };
    let keep = Keep { last: 1, every: None, best: None };
    let now = Instant::now();
    saver.save(&model, &mut optimizer, step, || Ok(about), keep, now).expect("begun");
    saver.finish().expect("saved");
    fs::copy(run.path(from).join("config.yaml"), run.path(to).join("config.yaml")).expect("copied");
}

/// Four ranks in a layout, and two, give what one gives, go on from what they saved, and export it.
#[track_caller]
fn check_layout(layout: &str, words: &str) {
    let run = TinyRun::new(6, "precision: fp32\n");
    let micro = ["--set", "batch.micro=2"];
    let mesh = [&micro[..], &["--set", layout]].concat();
    succeeds(&mut run.train("alone", &micro));
    let output = succeeds(&mut launch(&run, 4, &[], "whole", &mesh));
    assert!(said(&output).contains(words), "{}", said(&output));
    let difference = off(&run, 6, "alone", "whole");
    assert!(difference < 1e-4, "{difference}");

    // Stopped and resumed it is the same to the bit; and one rank goes on from it too, and they from one.
    let stop = ["--stop-after", "3"];
    succeeds(&mut launch(&run, 4, &[], "parts", &[&mesh[..], &stop].concat()));
    succeeds(&mut launch(&run, 4, &[], "parts", &mesh));
    check_same(&run, 6, "whole", "parts");
    succeeds(&mut launch(&run, 2, &[], "moved", &[&mesh[..], &stop].concat()));
    succeeds(&mut run.train("moved", &micro));
    succeeds(&mut run.train("back", &[&micro[..], &stop].concat()));
    succeeds(&mut launch(&run, 4, &[], "back", &mesh));
    for out in ["moved", "back"] {
        let difference = off(&run, 6, "alone", out);
        assert!(difference < 1e-4, "{out}: {difference}");
    }

    // The same weights are exported as the same bytes, in however many pieces they lie.
    save_as_one_rank(&run, 6, "whole", "in one piece");
    assert_eq!(off(&run, 6, "whole", "in one piece"), 0.0);
    let exported = ["whole", "in one piece"].map(|from| {
        let out = format!("export of {from}");
        succeeds(run.command("export").args([from, "--out", &out]));
        ["model.safetensors", "config.json"].map(|name| run.bytes(format!("{out}/{name}")))
    });
    assert_eq!(exported[0], exported[1]);
}

#[test]
fn ranks_that_share_matrices_save_resume_and_export_what_one_rank_does() {
    check_layout("parallel.tensor=2", "4 ranks, 2 a matrix, at ZeRO 1");
}

#[test]
fn the_stages_of_a_pipeline_save_resume_and_export_what_one_rank_does() {
    check_layout("parallel.pipeline=2", "4 ranks, 2 stages, at ZeRO 1");
}

#[test]
fn stages_evaluate_and_end_early_as_one_rank_does_and_all_of_them_together() {
    // From the second evaluation on, nothing is better by ten.
    let evaluate =
        "evaluate: {every: 2, batches: 1, early_stopping: {patience: 2, min_delta: 10}}\n";
    let run = TinyRun::new(20, evaluate);
    let set = ["--set", "data.validation=shards/tiny-train", "--set", "batch.micro=2"];
    succeeds(&mut run.train("alone", &set));
    let mesh = [&set[..], &["--set", "parallel.pipeline=2"]].concat();
    let text = said(&succeeds(&mut launch(&run, 4, &[], "stages", &mesh)));
    assert!(text.contains("ended early, after step 6 of 20"), "{text}");
    let losses = |out: &str| -> Vec<f64> {
        let text = String::from_utf8(run.bytes(format!("{out}/metrics.jsonl"))).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.map(|line: serde_json::Value| line["loss"].as_f64().expect("a loss")).collect()
    };
    let (alone, stages) = (losses("alone"), losses("stages"));
    assert_eq!(alone.len(), stages.len());
    for (alone, stages) in alone.iter().zip(&stages) {
        assert!((alone / stages - 1.0).abs() < 1e-3, "{stages} is not {alone}");
    }
}

#[test]
fn a_stage_that_is_killed_ends_all_of_them_and_restarts_end_where_an_undisturbed_run_does() {
    let run = TinyRun::new(30, "checkpoint: {every: 4}\n");
    let stages = ["--set", "batch.micro=1", "--set", "parallel.pipeline=2"];
    succeeds(&mut launch(&run, 2, &[], "whole", &stages));
    for (rank, steps) in [(0, 7), (1, 11)] {
        let out = format!("killed-{rank}");
        let mut command = launch(&run, 2, &["--max-restarts", "1"], &out, &stages);
        let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
        wait_for_steps(&run, &out, steps, &mut launcher);
        assert!(kill("-KILL", &[ranks_of(&launcher)[rank]]));
        let text = said(&ends(launcher));
        assert!(text.contains(&format!("error: rank {rank} was killed by signal 9")), "{text}");
        assert!(text.contains("all ranks are started again, 1 of 1 times"), "{text}");
        check_same(&run, 30, "whole", &out);
    }
}

#[test]
fn adapters_that_ranks_share_are_saved_resumed_and_exported_as_those_of_one_rank() {
    let lora = "{r: 4, lora_dropout: 0.1, target_modules: [q_proj, o_proj, gate_proj, down_proj]}";
    let run = TinyRun::new(6, &format!("precision: fp32\nlora: {lora}\n"));
    let micro = ["--set", "batch.micro=2"];
    let mesh = [&micro[..], &["--set", "parallel.tensor=2"]].concat();
    succeeds(&mut run.train("alone", &micro));
    succeeds(&mut launch(&run, 2, &[], "whole", &mesh));
    let difference = off(&run, 6, "alone", "whole");
    assert!(difference < 1e-4, "{difference}");

    let stop = [&mesh[..], &["--stop-after", "3"]].concat();
    succeeds(&mut launch(&run, 2, &[], "parts", &stop));
    succeeds(&mut launch(&run, 2, &[], "parts", &mesh));
    check_same(&run, 6, "whole", "parts");
    succeeds(&mut launch(&run, 2, &[], "moved", &stop));
    succeeds(&mut run.train("moved", &micro));
    let difference = off(&run, 6, "alone", "moved");
    assert!(difference < 1e-4, "{difference}");
    succeeds(run.command("export").args(["whole", "--out", "merged"]));
    succeeds(run.command("export").args(["whole", "--adapter", "--out", "adapter"]));
}

#[test]
fn a_rank_that_is_killed_ends_all_of_them_and_restarts_end_where_an_undisturbed_run_does() {
    let run = TinyRun::new(30, "checkpoint: {every: 4}\n");
    let micro = ["--set", "batch.micro=1", "--set", "parallel.zero=2"];
    succeeds(&mut launch(&run, 3, &[], "whole", &micro));
    // Every rank once, at another moment each.
    for (rank, steps) in [(0, 9), (1, 2), (2, 17)] {
        let out = format!("killed-{rank}");
        let mut command = launch(&run, 3, &[], &out, &micro);
        let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
        wait_for_steps(&run, &out, steps, &mut launcher);
        assert!(kill("-KILL", &[ranks_of(&launcher)[rank]]));
        let output = ends(launcher);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let errors: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
        assert_eq!(errors, [format!("error: rank {rank} was killed by signal 9")], "{text}");
    }

    let mut command = launch(&run, 3, &["--max-restarts", "1"], "again", &micro);
    let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for_steps(&run, "again", 10, &mut launcher);
    assert!(kill("-KILL", &[ranks_of(&launcher)[1]]));
    let output = ends(launcher);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("all ranks are started again, 1 of 1 times"), "{text}");
    assert!(text.contains("resuming after step"), "{text}");
    check_same(&run, 30, "whole", "again");
}

/// As PyTorch ends a process whose GPU waits for a rank that does not come.
#[test]
fn a_rank_that_ends_itself_is_told_of_with_where_it_says_why() {
    let run = TinyRun::new(100_000, "");
    let mut command = launch(&run, 2, &[], "run", &[]);
    let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for_steps(&run, "run", 2, &mut launcher);
    assert!(kill("-ABRT", &[ranks_of(&launcher)[1]]));
    let output = ends(launcher);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected =
        "error: rank 1 was killed by signal 6\nhint: it ended itself, and said why above: ";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_rank_that_is_stopped_is_given_up_after_the_timeout() {
    let run = TinyRun::new(100_000, "parallel: {timeout: 3}\n");
    let mut command = launch(&run, 2, &[], "run", &[]);
    let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for_steps(&run, "run", 2, &mut launcher);
    assert!(kill("-STOP", &[ranks_of(&launcher)[1]]));
    let output = ends(launcher);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("error: rank 0: ").count(), 1, "{text}");
    assert!(text.contains("in group `world`"), "{text}");
}

#[test]
fn a_stage_that_is_stopped_is_given_up_after_the_timeout() {
    let run = TinyRun::new(100_000, "parallel: {timeout: 3, pipeline: 2}\n");
    let mut command = launch(&run, 4, &[], "run", &["--set", "batch.micro=1"]);
    let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for_steps(&run, "run", 2, &mut launcher);
    // The last stage of one of two pipelines.
    assert!(kill("-STOP", &[ranks_of(&launcher)[3]]));
    let output = ends(launcher);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    // Whichever of the others finds it first tells what it waited for.
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
    assert!(matches!(errors[..], [error] if error.contains("in group `")), "{text}");
    assert!(!text.contains("error: rank 3: "), "{text}");
}

#[test]
fn a_signal_to_one_rank_ends_all_of_them_after_the_same_step() {
    let run = TinyRun::new(100_000, "parallel: {timeout: 20}\n");
    let port = free_port();
    let mut children: Vec<Child> =
        (0..2).map(|number| rank(&run, number, 2, port, &[]).spawn().expect("it starts")).collect();
    wait_for_steps(&run, "run", 2, &mut children[0]);
    assert!(kill("-INT", &[children[1].id()]));
    let outputs: Vec<Output> = children.into_iter().map(ends).collect();
    for output in &outputs {
        assert_eq!(output.status.code(), Some(130), "{}", said(output));
    }
    let text = said(&outputs[0]);
    assert_eq!(text.matches("stopped after step").count(), 1, "{text}");
    // It goes on from there.
    let steps = fs::read_to_string(run.path("run/metrics.jsonl")).expect("text").lines().count();
    assert!(checkpoint_of(&run, "run", steps as u64).is_dir(), "{text}");
}

#[test]
fn a_signal_to_the_launcher_saves_and_ends_with_130() {
    let run = TinyRun::new(100_000, "");
    let mut command = launch(&run, 2, &[], "run", &[]);
    let mut launcher = command.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for_steps(&run, "run", 2, &mut launcher);
    assert!(kill("-INT", &[launcher.id()]));
    let output = ends(launcher);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert_eq!(text.matches("stopped after step").count(), 1, "{text}");
    assert!(fs::read_dir(run.path("run/checkpoints")).expect("a folder").next().is_some());
}

#[test]
fn ranks_that_were_started_with_different_things_say_which_and_do_not_begin() {
    let run = TinyRun::new(4, "");
    let port = free_port();
    let children: Vec<Child> = [&[][..], &["--set", "seed=7"]]
        .into_iter()
        .enumerate()
        .map(|(number, more)| rank(&run, number, 2, port, more).spawn().expect("it starts"))
        .collect();
    for child in children {
        let output = ends(child);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let words = "error: rank 1 was started with something else than rank 0: `seed` is 7, and on rank 0 1234";
        assert!(text.contains(words), "{text}");
    }
    assert!(!run.path("run").exists(), "nothing was written");
}

#[test]
fn a_port_that_is_taken_is_an_error_of_every_rank() {
    let run = TinyRun::new(4, "parallel: {timeout: 4}\n");
    let taken = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
    let taken = taken.expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let children: Vec<Child> =
        (0..2).map(|number| rank(&run, number, 2, port, &[]).spawn().expect("it starts")).collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = ends(child);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let words =
            format!("error: rank {number} of 2 does not find the others at localhost:{port}");
        assert!(text.contains(&words), "{text}");
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let free = TcpListener::bind("localhost:0").expect("a free port");
    free.local_addr().expect("it is bound").port()
}

#[test]
fn a_disk_that_is_full_for_one_rank_ends_every_rank_and_what_was_saved_before_stays() {
    let run = TinyRun::new(8, "checkpoint: {every: 2}\n");
    succeeds(&mut launch(&run, 2, &[], "run", &["--stop-after", "2"]));
    // Files of at most 8 KiB, as a full disk would have it, and an error in place of a signal.
    let mut narrow = Command::new("bash");
    let shell = r#"trap "" XFSZ; ulimit -f 8; exec "$@""#;
    let train = run.train("run", &[]);
    narrow.args(["-c", shell, "bash"]).arg(train.get_program()).args(train.get_args());
    narrow.current_dir(train.get_current_dir().expect("it runs in the run's folder"));
    let port = free_port();
    let commands = [rank(&run, 0, 2, port, &[]), as_rank(narrow, 1, 2, port)];
    let children: Vec<Child> =
        commands.into_iter().map(|mut it| it.spawn().expect("it starts")).collect();
    for child in children {
        let output = ends(child);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let words =
            "saving `run/checkpoints/step-0000004` failed; what was saved before is still there: ";
        assert!(text.contains(words) && text.contains("File too large"), "{text}");
    }
    let entries = fs::read_dir(run.path("run/checkpoints")).expect("a folder");
    let names: Vec<_> = entries.map(|it| it.expect("an entry").file_name()).collect();
    assert_eq!(names, ["step-0000002"]);
    succeeds(&mut launch(&run, 2, &[], "run", &[]));
}

#[test]
fn a_part_of_a_rank_that_was_changed_is_named_and_so_is_the_checkpoint_to_go_on_from() {
    let run = TinyRun::new(8, "checkpoint: {every: 2}\n");
    succeeds(&mut launch(&run, 2, &[], "run", &["--stop-after", "4"]));
    succeeds(&mut launch(&run, 2, &[], "other", &["--stop-after", "4", "--set", "seed=5"]));
    let part = |out: &str, kind: &str, number: u32| {
        checkpoint_of(&run, out, 4).join(format!("{kind}-{number:05}-of-00002.safetensors"))
    };
    let check = |nproc: usize, kind: &str, number: u32, bytes: Option<Vec<u8>>, complaint: &str| {
        let path = part("run", kind, number);
        let whole = run.bytes(&path);
        match bytes {
            Some(bytes) => shards::atomic::write(&path, &bytes).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let hint = "\nhint: remove it to go on from `run/checkpoints/step-0000002`";
        let words =
            ["the checkpoint `run/checkpoints/step-0000004` is damaged", &name, complaint, hint];
        fails(&mut launch(&run, nproc, &[], "run", &[]), 2, &words);
        shards::atomic::write(&path, &whole).expect("written");
    };
    let flipped = |kind, number| {
        let mut bytes = run.bytes(part("run", kind, number));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        Some(bytes)
    };
    let truncated = run.bytes(part("run", "model", 2))[..500].to_vec();
    let foreign = run.bytes(part("other", "exp_avg_sq", 1));
    let changed = "was changed after it was written";
    check(2, "model", 1, flipped("model", 1), changed);
    check(2, "exp_avg", 2, flipped("exp_avg", 2), changed);
    check(1, "exp_avg", 2, flipped("exp_avg", 2), changed);
    check(2, "exp_avg_sq", 1, Some(foreign), changed);
    check(2, "model", 2, Some(truncated), "has 500 bytes, expected");
    check(2, "exp_avg_sq", 2, None, "No such file");
    succeeds(&mut launch(&run, 2, &[], "run", &[]));
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_every_rank_with_the_reason() {
    let run = TinyRun::new(4, "");
    fs::create_dir(run.path("run")).expect("a new folder");
    shards::atomic::write(&run.path("run/checkpoints"), b"in the way").expect("written");
    fails(&mut launch(&run, 2, &[], "run", &[]), 1, &["error: rank 0: ", "run/checkpoints"]);
}

#[test]
fn mistakes_on_the_command_line_are_told_once() {
    let run = TinyRun::new(4, "");
    let mut command = launch(&run, 2, &[], "run", &["--set", "optimizer.lrr=1"]);
    let output = command.output().expect("it starts");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.matches("unknown key `lrr`").count(), 1, "{text}");
    fails(
        &mut launch(&run, 3, &[], "run", &[]),
        2,
        &["there are 3 ranks, but an update has 2 micro-batches"],
    );
}

#[test]
fn two_hosts_make_the_run_that_two_processes_of_one_make() {
    let Some(hosts) = Hosts::new("same") else { return };
    let run = TinyRun::new(4, "parallel: {timeout: 60}\n");
    succeeds(&mut launch(&run, 2, &[], "one-host", &[]));
    for child in hosts.train(&run, "two-hosts") {
        let output = ends(child);
        assert!(output.status.success(), "{}", said(&output));
    }
    check_same(&run, 4, "one-host", "two-hosts");
}

#[test]
fn a_cable_that_is_pulled_ends_both_hosts_within_the_timeout() {
    let Some(hosts) = Hosts::new("pulled") else { return };
    let run = TinyRun::new(100_000, "parallel: {timeout: 3}\n");
    let mut children = hosts.train(&run, "run");
    wait_for_steps(&run, "run", 2, &mut children[0]);
    hosts.pull_the_cable();
    for child in children {
        let output = ends(child);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
        assert!(text.contains("in group `world`"), "{text}");
    }
}
