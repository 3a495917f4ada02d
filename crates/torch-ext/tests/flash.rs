//! Attention over documents in one call, against one call a document in fp32. Needs a GPU: ignored without one.

use tch::{Device, Kind, Tensor};
use torch_ext::{Documents, cuda, grad};

const LENGTHS: [i64; 4] = [1, 37, 128, 90];

/// Queries, keys and values of eight heads that share two; the gradient of what is found.
fn drawn() -> [Tensor; 4] {
    tch::manual_seed(3);
    let n: i64 = LENGTHS.iter().sum();
    [8, 2, 2, 8].map(|heads| {
        Tensor::randn([n, heads, 64], (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16)
    })
}

/// The same documents one by one, in fp32 on the CPU: what is found, and the gradients of queries, keys and values.
fn one_by_one([q, k, v, dy]: &[Tensor; 4]) -> Vec<Tensor> {
    let leaves = [q, k, v].map(|it| it.to_kind(Kind::Float).set_requires_grad(true));
    let mut found = Vec::new();
    let mut start = 0;
    for length in LENGTHS {
        let [q, k, v] =
            leaves.each_ref().map(|it| it.narrow(0, start, length).transpose(0, 1).unsqueeze(0));
        let none = None::<&Tensor>;
        let y = Tensor::scaled_dot_product_attention(&q, &k, &v, none, 0.0, true, None, true);
        found.push(y.squeeze_dim(0).transpose(0, 1));
        start += length;
    }
    let y = Tensor::cat(&found, 0);
    let gradients = grad(&[&y], &[dy.to_kind(Kind::Float)], &leaves).expect("a backward pass");
    let gradients = gradients.into_iter().map(|it| it.expect("all take part"));
    std::iter::once(y.detach()).chain(gradients).collect()
}

#[test]
#[ignore = "needs a GPU"]
fn documents_attend_to_themselves_as_they_do_one_by_one() {
    cuda::load().expect("a GPU");
    let gpu = Device::Cuda(0);
    let drawn = drawn();
    let expected = one_by_one(&drawn);
    let [q, k, v] = [0, 1, 2].map(|it| drawn[it].to_device(gpu).set_requires_grad(true));
    let documents = Documents::of(&LENGTHS, gpu).expect("documents with tokens");
    let y = documents.attend(&q, &k, &v).expect("attention");
    let gradients =
        grad(&[&y], &[drawn[3].to_device(gpu)], &[&q, &k, &v]).expect("a backward pass");
    let gradients = gradients.into_iter().map(|it| it.expect("all take part"));
    for (number, found) in std::iter::once(y.detach()).chain(gradients).enumerate() {
        let found = found.to_device(Device::Cpu).to_kind(Kind::Float);
        // Probabilities and results are rounded to eight bits; four query heads' gradients of a key are added up so.
        let off = (&found - &expected[number]).norm() / expected[number].norm();
        assert!(off.double_value(&[]) < 0.01, "tensor {number} is off by {off:?}");
    }
}
