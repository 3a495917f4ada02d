//! The numbers that PyTorch 2.11.0 computes in Python; each program stands above the numbers that it printed.
//!
//! Its `show` is: `def show(t): print([str(x) for x in t.detach().flatten().numpy()])`.

use tch::{Device, Kind, Tensor};
use torch_ext::{AdamW, foreach, grad, rng};

/// Holds the elements of `tensor` against `expected`.
///
/// Equal bit for bit on x86-64 with AVX2 or AVX-512. Other processors may round a multiply-add twice, which is worth some
/// units in the last of fp32's 24 bits.
#[track_caller]
fn check(tensor: &Tensor, expected: &[f32]) {
    let found = Vec::<f32>::try_from(tensor.flatten(0, -1)).expect("an fp32 tensor");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(found, expected);
    } else {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 4.0 * f32::EPSILON * b.abs();
        let all_near = found.len() == expected.len() && found.iter().zip(expected).all(near);
        assert!(all_near, "{found:?} is not near {expected:?}");
    }
}

fn leaf(values: &[f32], size: &[i64]) -> Tensor {
    Tensor::from_slice(values).reshape(size).set_requires_grad(true)
}

// x = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], requires_grad=True)
// w = torch.tensor([[0.1, -0.3, 0.2], [0.4, 0.05, -0.6]], requires_grad=True)
// unused = torch.ones(2, requires_grad=True)
// y, z = torch.nn.functional.silu(x @ w.T), x.square().sum(1)
// dy, dz = torch.tensor([[1.0, 2.0], [-0.5, 0.25]]), torch.tensor([0.5, -1.0])
// dx, dw, none = torch.autograd.grad([y, z], [x, w, unused], [dy, dz], allow_unused=True)
// show(dx), show(dw), print(none)
#[test]
fn gradients_of_two_outputs_and_none_for_an_unused_input() {
    let x = leaf(&[1.0, -2.0, 0.5, 0.25, 3.0, -1.0], &[2, 3]);
    let w = leaf(&[0.1, -0.3, 0.2, 0.4, 0.05, -0.6], &[2, 3]);
    let unused = leaf(&[1.0, 1.0], &[2]);
    let y = x.matmul(&w.tr()).silu();
    let z = x.square().sum_dim_intlist(1, false, Kind::Float);
    let dy = Tensor::from_slice(&[1f32, 2.0, -0.5, 0.25]).reshape([2, 2]);
    let dz = Tensor::from_slice(&[0.5f32, -1.0]);

    let gradients = grad(&[y, z], &[dy, dz], &[&x, &w, &unused]).unwrap();

    let [Some(dx), Some(dw), None] = &gradients[..] else { panic!("{gradients:?}") };
    check(dx, &[1.4861102, -2.2083306, 0.072220445, -0.41463852, -5.9814363, 1.863117]);
    check(dw, &[0.8547874, -1.7979822, 0.45581037, 1.0549296, -1.3408444, 0.28028148]);
    assert!(!x.grad().defined(), "nothing is added to .grad");
}

#[test]
fn gradients_are_the_same_with_gradient_mode_off() {
    let x = leaf(&[3.0], &[1]);
    let y = x.square();
    let _guard = tch::no_grad_guard();
    let dx = grad(&[y], &[Tensor::from_slice(&[2f32])], &[&x]).unwrap().remove(0);
    check(&dx.unwrap(), &[12.0]);
}

// p = [torch.tensor([0.5, -1.0, 2.0, 0.25, -0.125, 3.0, 1e-3, -4.0, 0.75, 1.5, -2.5], requires_grad=True),
//      torch.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True)]
// optimizer = torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)
// for step in 1, 2, 3:
//     for t in p: t.grad = t.detach() * step
//     optimizer.step()
// for t in p: show(t), show(optimizer.state[t]["exp_avg"]), show(optimizer.state[t]["exp_avg_sq"])
#[test]
fn three_steps_of_adamw() {
    let long = [0.5, -1.0, 2.0, 0.25, -0.125, 3.0, 1e-3, -4.0, 0.75, 1.5, -2.5];
    let parameters = [leaf(&long, &[11]), leaf(&[0.1, 0.2, 0.3, 0.4], &[2, 2])];
    let zeros = || parameters.each_ref().map(|it| it.detach().zeros_like());
    let (means, squares) = (zeros(), zeros());
    let adamw = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    for step in 1..=3 {
        let gradients = parameters.each_ref().map(|it| it.detach() * step);
        adamw.step(step, &parameters, &gradients, &means, &squares).unwrap();
    }
    #[rustfmt::skip]
    let (parameter, mean, square) = (
        [0.46944287, -0.9679747, 1.9649928, 0.22013077, -0.09537986, 2.962001, 0.0051746527, -3.9590063, 0.7187138, 1.4664862, -2.463497],
        [0.27243203, -0.5525456, 1.1127677, 0.13237008, -0.06232877, 1.6729885, -0.00214515, -2.2332091, 0.41248938, 0.8326569, -1.3928782],
        [0.16023107, 0.66175437, 2.6892233, 0.037522443, 0.008181898, 6.0825887, 1.727431e-05, 10.841848, 0.36830842, 1.5047519, 4.2151685],
    );
    check(&parameters[0], &parameter);
    check(&means[0], &mean);
    check(&squares[0], &square);
    check(&parameters[1], &[0.070391014, 0.17024955, 0.2700015, 0.36972734]);
    check(&means[1], &[0.04831637, 0.10435563, 0.1603834, 0.21640828]);
    check(&squares[1], &[0.0048750867, 0.02322505, 0.05523464, 0.10090334]);
}

// g = [torch.tensor([3.0, -4.0, 0.1]), torch.tensor([[1.5, 2.5], [-0.7, 0.3]])]
// show(torch.stack(torch._foreach_norm(g))), show(torch.nn.utils.get_total_norm(g))
// p = [torch.nn.Parameter(torch.zeros_like(t)) for t in g]
// for t, dt in zip(p, g): t.grad = dt
// torch.nn.utils.clip_grad_norm_(p, 1.0)
// for t in p: show(t.grad)
#[test]
fn clipping_by_the_global_norm() {
    let gradients = [
        Tensor::from_slice(&[3f32, -4.0, 0.1]),
        Tensor::from_slice(&[1.5f32, 2.5, -0.7, 0.3]).reshape([2, 2]),
    ];
    let norms = foreach::norms(&gradients).unwrap();
    check(&norms, &[5.001, 3.0133038]);
    let norm = norms.linalg_norm(2, None::<&[i64]>, false, Kind::Float);
    check(&norm.unsqueeze(0), &[5.838664]);
    let factor = (norm + 1e-6).reciprocal().clamp_max(1.0);
    foreach::mul_(&gradients, &factor).unwrap();
    check(&gradients[0], &[0.51381606, -0.6850881, 0.017127203]);
    check(&gradients[1], &[0.25690803, 0.42818007, -0.119890414, 0.05138161]);
}

// g = [t.bfloat16().float() for t in g]
// show(torch.stack(torch._foreach_norm(g, 2, torch.float32)))
#[test]
fn the_norm_of_bf16_is_summed_in_fp32() {
    let gradients = [
        Tensor::from_slice(&[3f32, -4.0, 0.1]).to_kind(Kind::BFloat16),
        Tensor::from_slice(&[1.5f32, 2.5, -0.7, 0.3]).to_kind(Kind::BFloat16),
    ];
    check(&foreach::norms(&gradients).unwrap(), &[5.001002, 3.0132003]);
}

// torch.manual_seed(7)
// print(len(torch.get_rng_state()))
// show(torch.rand(3)), show(torch.rand(2))
#[test]
fn random_numbers_go_on_from_a_stored_state() {
    let rand = |n: i64| Tensor::rand([n], (Kind::Float, Device::Cpu));
    tch::manual_seed(7);
    check(&rand(3), &[0.53492254, 0.19880319, 0.6592117]);
    let state = rng::state(Device::Cpu).unwrap();
    assert_eq!((state.size(), state.kind()), (vec![5056], Kind::Uint8));
    check(&rand(2), &[0.6568903, 0.23276156]);
    rng::set_state(Device::Cpu, &state).unwrap();
    check(&rand(2), &[0.6568903, 0.23276156]);
}
