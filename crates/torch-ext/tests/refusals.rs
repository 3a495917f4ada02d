//! What libtorch refuses comes back as an error of one line, and the version as one that says what to do.

use tch::{Device, Kind, Tensor};
use torch_ext::{AdamW, Error, foreach, grad, rng, version};

fn ones(size: &[i64]) -> Tensor {
    Tensor::ones(size, (Kind::Float, Device::Cpu))
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: torch_ext::Result<T>, expected: &str) {
    assert_eq!(result.expect_err(expected).to_string(), expected);
}

#[test]
fn gradients_that_do_not_fit_the_graph() {
    let x = ones(&[2, 3]).set_requires_grad(true);
    let none: [&Tensor; 0] = [];
    check(grad(&[x.square()], &none, &[&x]), "0 gradients for 1 outputs");
    check(
        grad(&[x.square()], &[ones(&[3])], &[&x]),
        "libtorch: output 0 has shape [2, 3] but its gradient has [3]",
    );
    check(
        grad(&[x.square()], &[ones(&[2, 3])], &[ones(&[1])]),
        "libtorch: input 0 does not require a gradient",
    );
    check(
        grad(&[ones(&[1])], &[ones(&[1])], &[&x]),
        "libtorch: output 0 does not require a gradient",
    );
}

#[test]
fn a_graph_can_be_walked_only_once() {
    let x = ones(&[2]).set_requires_grad(true);
    let y = x.square();
    grad(&[&y], &[ones(&[2])], &[&x]).expect("the first time");
    let error = grad(&[&y], &[ones(&[2])], &[&x]).expect_err("the graph is freed").to_string();
    assert!(error.starts_with("libtorch: Trying to backward through the graph a second time"));
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn lists_of_different_lengths() {
    let one = [ones(&[2])];
    let none: [Tensor; 0] = [];
    let adamw = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 };
    check(adamw.step(1, &one, &one, &none, &one), "0 running means for 1 parameters");
    adamw.step(1, &none, &none, &none, &none).expect("a list may be empty");
}

#[test]
fn a_backtrace_is_cut_off() {
    let none: [Tensor; 0] = [];
    let bytes = Tensor::from_slice(&[1u8, 2, 3]);
    let errors = [
        foreach::norms(&none).expect_err("an empty list has no norms"),
        foreach::mul_(&[ones(&[2])], &ones(&[2])).expect_err("the factor is no scalar"),
        rng::set_state(Device::Cpu, &bytes).expect_err("three bytes are no state"),
        rng::state(Device::Mps).expect_err("no such generator"),
    ];
    for error in errors.map(|it| it.to_string()) {
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.len() > "libtorch: ".len() && error.len() < 200, "{error}");
    }
}

#[test]
fn the_libtorch_that_is_loaded_is_the_one_built_for() {
    version::check().expect("the build checked the headers of the same libtorch");
    assert_eq!(version::loaded(), version::EXPECTED);
    let error = Error::Version { expected: "2.11.0", found: "2.9.1".to_owned() }.to_string();
    assert_eq!(
        error,
        "this program was built for libtorch 2.11.0 but found 2.9.1\n\
         hint: run `scripts/libtorch` and build again, and see that LD_LIBRARY_PATH names no other libtorch"
    );
}

/// The version is written twice, since the script must work before anything is built.
#[test]
fn the_script_fetches_the_version_that_the_build_expects() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/libtorch");
    let script = fs_err::read_to_string(script).expect("the script is part of the workspace");
    assert!(script.contains(&format!("VERSION = \"{}\"\n", version::EXPECTED)));
}
