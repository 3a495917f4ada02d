//! What attention keeps while a text is being generated: the keys and values of the tokens so far.

use tch::Tensor;

use crate::params::Model;

/// The keys and values of every layer.
#[derive(Debug)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
}

/// The keys and values of one layer, `b x h x t x k` each.
#[derive(Debug, Default)]
pub struct LayerCache(Option<(Tensor, Tensor)>);

impl KvCache {
    /// An empty cache.
    pub fn new(model: &Model) -> Self {
        Self { layers: (0..model.n_layers()).map(|_| LayerCache::default()).collect() }
    }

    /// How many tokens it has seen.
    pub fn len(&self) -> i64 {
        self.layers.first().map_or(0, LayerCache::len)
    }

    /// Whether it has seen none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl LayerCache {
    fn len(&self) -> i64 {
        self.0.as_ref().map_or(0, |(keys, _)| keys.size()[2])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds the new keys and values and gives back all of them.
    pub(crate) fn extend(&mut self, k_bhtk: Tensor, v_bhtk: Tensor) -> (Tensor, Tensor) {
        let (keys, values) = match &self.0 {
            Some((keys, values)) => {
                (Tensor::cat(&[keys, &k_bhtk], 2), Tensor::cat(&[values, &v_bhtk], 2))
            }
            None => (k_bhtk, v_bhtk),
        };
        self.0 = Some((keys.shallow_clone(), values.shallow_clone()));
        (keys, values)
    }
}
