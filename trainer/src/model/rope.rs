//! Rotary position embedding: each pair of a head's numbers is turned by an angle that grows with the place.

use tch::{Device, Kind, Tensor};

use crate::llama_config::LlamaConfig;
use crate::model::wide;

/// The rotations of some consecutive places, in `f32`.
#[derive(Debug)]
pub struct Rope {
    cos_t1k: Tensor,
    sin_t1k: Tensor,
}

impl Rope {
    /// The rotations of places `start..start + length`.
    pub fn new(config: &LlamaConfig, start: i64, length: i64, device: Device) -> Self {
        Self::at(config, &Tensor::arange_start(start, start + length, (Kind::Float, device)))
    }

    /// The rotations of documents of these lengths that follow one another: each begins at place 0.
    pub fn of_documents(config: &LlamaConfig, lengths: &[i64], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let places = Tensor::arange(longest, (Kind::Float, device));
        let restarted: Vec<Tensor> =
            lengths.iter().map(|&length| places.narrow(0, 0, length)).collect();
        Self::at(config, &Tensor::cat(&restarted, 0))
    }

    /// The rotations of these places, in `f32`.
    fn at(config: &LlamaConfig, places: &Tensor) -> Self {
        let frequencies = Tensor::from_slice(&config.inverse_frequencies())
            .to_kind(Kind::Float)
            .to_device(places.device());
        let angles = places.outer(&frequencies);
        // Number `i` of a head turns together with number `i + k/2`, both by the angle of frequency `i`.
        let angles_t1k = Tensor::cat(&[&angles, &angles], -1).unsqueeze(1);
        Self { cos_t1k: angles_t1k.cos(), sin_t1k: angles_t1k.sin() }
    }

    /// Turns queries or keys; computed in `f32` and cast back.
    ///
    /// # Shapes
    /// `x_bthk` -> `x_bthk`
    pub fn turn(&self, x_bthk: &Tensor) -> Tensor {
        let x = x_bthk.to_kind(wide(x_bthk.kind()));
        let halves = x.chunk(2, -1);
        let quarter_turned = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1);
        (x * &self.cos_t1k + quarter_turned * &self.sin_t1k).to_kind(x_bthk.kind())
    }
}
