//! A checkpoint of any layout is read by any other, to the bit, and only as far as it is needed; the run goes on as if nothing
//! had happened. And what is written while training goes on is what there was when that began.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

mod golden_run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fs_err as fs;
use golden_run::join;
use tch::Tensor;
use trainer::checkpoint::{self, About, Keep, Origin, Staged, part};
use trainer::config::Config;
use trainer::init;
use trainer::llama_config::LlamaConfig;
use trainer::ranks::Ranks;
use trainer::run::Run;
use trainer::saver::Saver;
use trainer::units::ParamSpec;

/// How many stages there are, how many ranks share each matrix, the stage of ZeRO, and how many replicas there are.
type Layout = (usize, usize, u8, usize);

/// So many ranks, in these layouts.
const WORLDS: [(usize, &[Layout]); 3] = [
    (1, &[(1, 1, 0, 1)]),
    (2, &[(1, 1, 0, 1), (1, 1, 3, 1), (1, 2, 0, 1), (2, 1, 0, 1)]),
    (4, &[(1, 1, 1, 1), (1, 1, 1, 2), (1, 1, 3, 2), (1, 2, 3, 1), (2, 1, 1, 1), (2, 2, 0, 1)]),
];

/// A place that all processes of a test know: the one that started them cleans it up.
fn folder(test: &str) -> PathBuf {
    let started = std::env::var_os("TEST_RANK").is_some();
    let owner = if started { std::os::unix::process::parent_id() } else { std::process::id() };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{owner}"));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The golden model's shape on a few documents; two micro-batches for each of four ranks. Inside of its MLP are so many
/// numbers that ranks' parts begin within rows.
fn config(folder: &Path, settings: &[&str]) -> Config {
    let (prefix, base) = (folder.join("docs-train"), folder.join("base"));
    if std::env::var_os("TEST_RANK").is_none() && !base.exists() {
        golden_run::write_documents(&prefix, (6..30).map(|length| (length, 3)));
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
        let shape = LlamaConfig::read(&golden).expect("a Llama");
        let shape = LlamaConfig { intermediate_size: 44, ..shape };
        init::init(shape, 7, None, &base).expect("a random model");
    }
    let base = format!("model.base={}", base.display());
    let settings = [&[base.as_str()], settings].concat();
    let path = folder.join(format!("run-{}.yaml", std::process::id()));
    let lines = "steps: 6\noptimizer: {lr: 0.003}\nprecision: fp32\n";
    golden_run::config(&prefix, &path, lines, &settings)
}

fn open(ranks: &Rc<Ranks>, folder: &Path, layout: Layout) -> Run {
    let (pipeline, tensor, zero, replicate) = layout;
    let layout = format!(
        "parallel={{pipeline: {pipeline}, tensor: {tensor}, zero: {zero}, replicate: {replicate}}}"
    );
    Run::open_on(ranks, config(folder, &[&layout])).expect("a sound run")
}

/// Where a layout saves.
fn saved(world: usize, (pipeline, tensor, zero, replicate): Layout) -> String {
    format!("saved-{world}-{pipeline}-{tensor}-{zero}-{replicate}")
}

fn about(run: &Run) -> About {
    let config = serde_json::to_value(&run.config).expect("JSON");
    let origin = Origin::default();
    About { model: run.model.config.clone(), state: run.state, config, origin }
}

const KEEP: Keep = Keep { last: 9, every: None, best: None };

/// Some of what a rank holds of a parameter: whether masters or which moments, the name, and where it begins.
type Stretch = (usize, String, i64);

/// Every master and moment of this rank's part.
fn state(run: &Run) -> BTreeMap<Stretch, Tensor> {
    let mut found = BTreeMap::new();
    for (unit, moments) in run.model.units.iter().zip(&run.optimizer.moments) {
        let kinds = [&unit.master, &moments.exp_avg, &moments.exp_avg_sq];
        for (kind, flat) in kinds.into_iter().enumerate() {
            for (spec, (piece, values)) in unit.spec.params.iter().zip(unit.pieces(flat)) {
                if values.numel() > 0 {
                    found.insert((kind, spec.name.clone(), piece.in_param.start), values.copy());
                }
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// What this rank's part of a run should be by a checkpoint, read whole.
#[track_caller]
fn check_state(run: &Run, path: &Path, what: &str) {
    let record = checkpoint::open(path).expect("whole");
    let stored = checkpoint::tensors(path, &record).expect("readable");
    for unit in &run.model.units[run.model.stage()] {
        let pieces = unit.pieces(&unit.master);
        assert!(pieces.iter().any(|(_, values)| values.numel() > 0) || !unit.is_whole());
    }
    let specs = || run.model.units.iter().flat_map(|unit| &unit.spec.params);
    for ((kind, name, start), values) in state(run) {
        let held = &specs().find(|spec| spec.name == name).expect("there").held;
        let whole = stored[kind].tensor(&name).expect("there");
        let expected = held.of(&whole).contiguous().view(-1).narrow(0, start, values.size()[0]);
        assert_eq!(expected, values, "{what}: {kind} {name} from {start}");
    }
}

#[test]
fn every_layout_goes_on_from_the_checkpoint_of_every_other() {
    let folder = folder("reshard");
    config(&folder, &[]);
    // Two steps, saved by each layout, and two more.
    for (world, layouts) in WORLDS {
        ranks::run(world, |place| {
            let ranks = join(place);
            for &layout in layouts {
                let mut run = open(&ranks, &folder, layout);
                let out = folder.join(saved(world, layout));
                let mut saver = Saver::open(&ranks, &out, 1, run.model.numel(), 0).expect("room");
                for _ in 0..2 {
                    run.step().expect("a step");
                }
                let about = about(&run);
                let Run { model, optimizer, state, .. } = &mut run;
                saver
                    .save(model, optimizer, state.step, || Ok(about), KEEP, Instant::now())
                    .expect("begun");
                let losses = [run.step(), run.step()].map(|step| step.expect("a step").loss);
                let saved = saver.finish().expect("saved").expect("one");
                assert_eq!(saved.path, checkpoint::path(&out, 2));
                if ranks.leads() {
                    let text = format!("{:e} {:e}", losses[0], losses[1]);
                    fs::write(out.join("losses"), text).expect("written");
                }
            }
        });
    }
    if std::env::var_os("TEST_RANK").is_none() {
        let parts = |world, layout| {
            let saved = checkpoint::path(&folder.join(saved(world, layout)), 2);
            fs::read_dir(saved).expect("a checkpoint").count()
        };
        // Three files a rank, `config.json` and `checkpoint.json`; at stage 0, and of replicas, ranks share the work too.
        for (world, layouts) in WORLDS {
            for &layout in layouts {
                assert_eq!(parts(world, layout), 3 * world + 2);
            }
        }
    }
    let all_saved = || {
        let named = |(world, layouts): (usize, &'static [Layout])| {
            layouts.iter().map(move |layout| saved(world, *layout))
        };
        WORLDS.into_iter().flat_map(named)
    };
    for (world, layouts) in WORLDS {
        ranks::run(world, |place| {
            let ranks = join(place);
            for saved in all_saved() {
                let out = folder.join(&saved);
                let path = checkpoint::path(&out, 2);
                let losses = fs::read_to_string(out.join("losses")).expect("written before");
                for &layout in layouts {
                    let (stages, tensor, zero, replicate) = layout;
                    let what = format!(
                        "{world} ranks, {stages} stages, tensor {tensor}, zero {zero}, {replicate} replicas, from {saved}"
                    );
                    let mut run = open(&ranks, &folder, layout);
                    let record = checkpoint::open_on(&ranks, &path).expect("whole");
                    let Run { model, optimizer, .. } = &mut run;
                    let bytes = checkpoint::load(&path, &record, model, &mut optimizer.moments)
                        .expect("read");
                    run.state = record.state();
                    // Each rank reads the numbers that it keeps, and no other: masters and two moments of four bytes.
                    let ours = state(&run).values().map(Tensor::numel).sum::<usize>() as u64;
                    assert_eq!(bytes, 4 * ours, "{what}");
                    let read = ranks.counts(&[ours]).expect("all ranks come")[0];
                    // Those that see other documents have copies of everything without ZeRO, replicas have them of each other, and
                    // those that share matrices of norms.
                    let of_all = if zero == 0 { world / tensor / stages } else { replicate };
                    let times = |spec: &ParamSpec| {
                        let copies = if spec.share.is_copy() { tensor } else { 1 };
                        3 * spec.numel().cast_unsigned() * (copies * of_all) as u64
                    };
                    let params = run.model.units.iter().flat_map(|unit| &unit.spec.params);
                    assert_eq!(read, params.map(times).sum::<u64>(), "{what}");
                    check_state(&run, &path, &what);
                    for expected in losses.split(' ') {
                        let expected: f64 = expected.parse().expect("a loss");
                        let loss = run.step().expect("a step").loss;
                        assert!(
                            (loss / expected - 1.0).abs() < 1e-6,
                            "{what}: {loss} for {expected}"
                        );
                    }
                }
            }
        });
    }
    if std::env::var_os("TEST_RANK").is_none() {
        fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn what_is_written_during_two_steps_is_what_there_was_before_them() {
    let folder = folder("fire");
    config(&folder, &[]);
    let ranks = Ranks::alone();
    let losses = |run: &mut Run| [run.step(), run.step()].map(|step| step.expect("a step").loss);
    let mut undisturbed = open(&ranks, &folder, (1, 1, 0, 1));
    undisturbed.step().expect("a step");
    let expected_losses = losses(&mut undisturbed);

    let largest =
        3 * 4 * undisturbed.model.units.iter().map(|it| it.padded()).max().expect("units");
    for room in [0, largest.cast_unsigned(), u64::MAX] {
        let mut run = open(&ranks, &folder, (1, 1, 0, 1));
        run.step().expect("a step");
        let (about, expected) = (about(&run), state(&run));
        let (layout, buffers) = part::share(&run.model, &run.optimizer.moments);
        let snapshot = run.optimizer.lend(buffers, room);
        let target = folder.join(format!("step-{room}"));
        let staged = Staged::create(&target).expect("a folder");
        let path = staged.path().to_owned();
        let writer = std::thread::spawn(move || {
            // The first update comes long before this writer begins.
            std::thread::sleep(Duration::from_millis(500));
            let part = layout.write(&path, &snapshot).expect("written");
            (part, snapshot.held_up())
        });
        assert_eq!(losses(&mut run), expected_losses);
        let (part, held_up) = writer.join().expect("written");
        assert_eq!(held_up > Duration::from_millis(100), room != u64::MAX, "{held_up:?}");
        staged.commit(&target, about, vec![part]).expect("a checkpoint");
        let changed = state(&run);
        let mut again = open(&ranks, &folder, (1, 1, 0, 1));
        let record = checkpoint::open(&target).expect("whole");
        let Run { model, optimizer, .. } = &mut again;
        checkpoint::load(&target, &record, model, &mut optimizer.moments).expect("read");
        for (stretch, values) in state(&again) {
            assert_eq!(values, expected[&stretch], "{stretch:?} with room for {room} bytes");
            assert_ne!(values, changed[&stretch], "the steps change everything, {stretch:?} too");
        }
    }
    fs::remove_dir_all(&folder).expect("removed");
}
