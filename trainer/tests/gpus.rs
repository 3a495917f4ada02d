//! What is elsewhere when a model computes on GPUs: tensors of several ranks, which do not go the way on which these tell one
//! another small things, but over NCCL; and with `offload` masters and moments, which are in CPU memory.
//!
//! What there is to it besides the GPU is tested on CPUs: groups of their own and which of them carries what, with Gloo in
//! NCCL's place, and a state that is apart from the model, although on the same device. The other tests need GPUs: without any
//! they are ignored, and say why. `scripts/test` runs them where some are.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

#[path = "golden_run/compared.rs"]
mod compared;
mod golden_run;

use std::collections::BTreeSet;
use std::path::Path;

use compared::{alone, check, compare, config, made, make, off, square_of_ones};
use golden_run::join;
use tch::{Device, Kind};
use torch_ext::cuda;
use trainer::device::Devices;
use trainer::ranks::Ranks;
use trainer::run::Run;

/// Layouts of so many ranks.
fn layouts(size: usize) -> Vec<Vec<String>> {
    let layout = |(pipeline, tensor, zero): (usize, usize, u8)| {
        vec![format!("parallel={{pipeline: {pipeline}, tensor: {tensor}, zero: {zero}}}")]
    };
    let replicas = ["parallel={replicate: 2, zero: 2}".to_owned()];
    let layouts: &[_] = match size {
        1 => &[(1, 1, 0)],
        2 => &[(1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 2, 0), (2, 1, 0)],
        3 => &[(1, 1, 3)],
        _ => &[(1, 1, 3), (1, 2, 1), (2, 1, 1), (2, 2, 0)],
    };
    let replicas = (size == 4).then(|| replicas.to_vec());
    layouts.iter().copied().map(layout).chain(replicas).collect()
}

fn tied() -> String {
    let tied = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trajectories/tied/base");
    format!("model.base={}", tied.display())
}

#[test]
fn tensors_that_go_apart_give_what_one_rank_gives() {
    for size in [2, 3, 4] {
        ranks::run(size, |place| {
            let ranks = join(place);
            ranks.carry_apart(Device::Cpu);
            let layouts = layouts(size);
            check(&ranks, &[], &layouts, 1e-12);
            check(&ranks, &["batch.micro=2", "recompute=all"], &layouts, 1e-12);
            check(&ranks, &["data.rows=packed"], &layouts, 1e-12);
            for layout in layouts {
                let run = Run::open_on(&ranks, config(&[&layout[0]])).expect("a sound run");
                let (square, ones) = square_of_ones(run.model.mesh(), run.model.zero());
                assert!((square / ones - 1.0).abs() < 1e-12, "{layout:?}: {square} of {ones}");
            }
        });
    }
}

/// First and last stage send a tied matrix's gradient to one another, whatever else is between them.
#[test]
fn a_tied_matrix_goes_apart_between_the_ends_of_a_pipeline() {
    ranks::run(2, |place| {
        let ranks = join(place);
        ranks.carry_apart(Device::Cpu);
        let layouts = [vec!["parallel.pipeline=2".to_owned()]];
        check(&ranks, &[&tied(), "data.pad_id=0"], &layouts, 1e-12);
    });
}

#[test]
fn what_ranks_tell_one_another_is_all_that_stays_on_the_cpu() {
    ranks::run(2, |place| {
        let ranks = join(place);
        ranks.carry_apart(Device::Cpu);
        ranks.transcript().keep();
        make(&ranks, &["parallel.zero=3", "precision=fp32"]);
        let calls = ranks.transcript().take();
        let of = |name: &str| -> BTreeSet<(&str, String)> {
            let calls = calls.iter().filter(|call| call.group == name);
            calls.map(|call| (call.operation, format!("{:?}", call.kind))).collect()
        };
        let told = of("world");
        let [whole, real] = [Kind::Int64, Kind::Double].map(|kind| format!("{kind:?}"));
        assert!(told.iter().all(|(_, kind)| *kind == whole || *kind == real), "{told:?}");
        let carried: Vec<_> = of("world tensors").into_iter().collect();
        let float = format!("{:?}", Kind::Float);
        let expected = [
            ("all_gather", float.clone()),
            // That of one number a rank, with which they are connected.
            ("all_reduce", whole),
            ("all_to_all", float),
        ];
        assert_eq!(carried, expected);
    });
}

/// A state that is apart from the model.
const APART: Devices = Devices { model: Device::Cpu, state: Some(Device::Cpu) };

#[test]
fn a_state_that_is_apart_changes_no_bit() {
    let ranks = Ranks::alone();
    for precision in ["fp32", "bf16", "fp64"].map(|it| format!("precision={it}")) {
        for settings in [
            &[precision.as_str()][..],
            &[&precision, "recompute=all", "optimizer.clip_grad=0.1"],
            &[&precision, "lora={r: 2, modules_to_save: [embed_tokens, lm_head]}"],
            &[&precision, &tied(), "data.pad_id=0"],
        ] {
            let run = Run::open_at(&ranks, config(settings), APART).expect("a sound run");
            let (off, name) = off(&make(&ranks, settings), &made(run));
            assert!(off == 0.0, "{settings:?}: {name} is off by {off:e}");
        }
    }
}

#[test]
fn a_state_that_is_apart_changes_no_bit_on_several_ranks() {
    for size in [2, 4] {
        ranks::run(size, |place| {
            let ranks = join(place);
            for layout in layouts(size) {
                for precision in ["precision=fp32", "precision=bf16"] {
                    let settings = [precision, &layout[0]];
                    let run = Run::open_at(&ranks, config(&settings), APART).expect("a sound run");
                    let (off, name) = off(&make(&ranks, &settings), &made(run));
                    assert!(off == 0.0, "{settings:?}: {name} is off by {off:e}");
                }
            }
        });
    }
}

/// As many ranks as there are GPUs, up to four, on a GPU each, against one rank on the CPU: in fp64, in which they differ by
/// the order in which they add up.
#[test]
#[ignore = "needs a GPU"]
fn ranks_on_gpus_give_what_one_rank_on_a_cpu_gives() {
    let n_gpus = cuda::load().expect("a GPU").min(4);
    let sizes: Vec<usize> = [1, 2, 4].into_iter().filter(|size| *size <= n_gpus).collect();
    for size in sizes {
        ranks::run(size, |place| {
            cuda::load().expect("a GPU");
            let ranks = join(place);
            for settings in [&[][..], &["batch.micro=2", "recompute=all"], &["data.rows=packed"]] {
                let expected = alone(&ranks, settings);
                for layout in layouts(size) {
                    for offload in ["offload=none", "offload=optimizer"] {
                        let layout = [layout[0].as_str(), "device=cuda", offload];
                        compare(&ranks, expected.as_ref(), settings, &layout, 1e-11);
                    }
                }
            }
        });
    }
}

/// In bf16, which is what one trains in: as near to fp64 as one rank on the CPU, and no farther than twice as much, since what
/// ranks add up is rounded once more.
#[test]
#[ignore = "needs a GPU"]
fn ranks_on_gpus_are_as_near_to_fp64_in_bfloat16_as_one_rank_on_a_cpu() {
    let size = if cuda::load().expect("a GPU") > 1 { 2 } else { 1 };
    ranks::run(size, |place| {
        cuda::load().expect("a GPU");
        let ranks = join(place);
        for rows in ["data.rows=padded", "data.rows=packed"] {
            let exact = make(&Ranks::alone(), &[rows]);
            let (rounded, _) = off(&exact, &make(&Ranks::alone(), &[rows, "precision=bf16"]));
            for layout in layouts(size) {
                let settings = [rows, "precision=bf16", &layout[0], "device=cuda"];
                let (off, name) = off(&exact, &make(&ranks, &settings));
                assert!(off <= 2.0 * rounded, "{settings:?}: {name} by {off}, not {rounded}");
            }
        }
    });
}
