//! The processes that train together, and what they decide together.
//!
//! One process is one rank. Each sees a part of every global batch and, from `parallel.zero: 1` on, keeps only a part of
//! the state. Whatever steers the run (a step is skipped, a signal came, a rank failed) is decided once, from a value
//! that was reduced over all ranks, so that all of them always make the same calls in the same order.
//!
//! A process that trains alone is one rank of one: every operation here is then the identity, and nothing is started.

mod carriers;
mod environment;
mod mesh;
mod stages;

use carriers::Carriers;
pub use environment::Place;
pub use mesh::{Mesh, Summand};
pub use stages::stage;

use std::cell::{Cell, OnceCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cli::{BadInput, exit};
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, ReduceOp, Store, Transcript, Work};

/// This process among those that train together.
#[derive(Debug)]
pub struct Ranks {
    place: Place,
    others: Option<Others>,
    transcript: Rc<Transcript>,
    /// How many meshes were made of them.
    meshes: Cell<usize>,
    /// Where tensors are that are carried apart, if they are.
    carrying: Cell<Option<Device>>,
}

/// How the others are reached.
#[derive(Debug)]
struct Others {
    /// What ranks tell one another, on the CPU.
    group: ProcessGroup,
    carriers: OnceCell<Carriers>,
    store: Store,
    timeout: Duration,
    check_calls: bool,
}

impl Ranks {
    /// The only rank.
    pub fn alone() -> Rc<Self> {
        Rc::new(Self::new(Place::alone(), None, Rc::default()))
    }

    /// Meets the others, if the environment says that there are any. An operation that some rank does not join within
    /// `timeout` fails; with `check_calls`, ranks compare each operation before they start it.
    pub fn join(place: Place, timeout: Duration, check_calls: bool) -> Result<Rc<Self>> {
        if place.size == 1 {
            return Ok(Self::alone());
        }
        let transcript = Rc::new(Transcript::default());
        let Place { rank, size, .. } = place;
        let meet = || -> torch_ext::Result<Others> {
            let store = place.store(timeout)?;
            let mut group = ProcessGroup::gloo(&store, "world", rank, size, timeout, &transcript)?;
            if check_calls {
                group.check_calls(&store)?;
            }
            Ok(Others { group, carriers: OnceCell::new(), store, timeout, check_calls })
        };
        let others = meet().with_context(|| {
            format!("rank {rank} of {size} does not find the others at {}", place.address())
        })?;
        Ok(Rc::new(Self::new(place, Some(others), transcript)))
    }

    fn new(place: Place, others: Option<Others>, transcript: Rc<Transcript>) -> Self {
        Self { place, others, transcript, meshes: Cell::default(), carrying: Cell::default() }
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.place.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.place.size
    }

    /// This rank's number on its machine: which GPU it takes.
    pub fn local_rank(&self) -> usize {
        self.place.local_rank
    }

    /// Whether this is the rank that writes and speaks for all.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// What this process asked of the others.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Which part of a buffer of `padded` numbers is this rank's.
    pub fn part(&self, padded: i64) -> Range<i64> {
        let (rank, size) = (number(self.rank()), number(self.size()));
        padded / size * rank..padded / size * (rank + 1)
    }

    /// Whether it is so on any rank.
    pub fn any(&self, flag: bool) -> Result<bool> {
        let Some(Others { group, .. }) = &self.others else { return Ok(flag) };
        let flag = Tensor::from_slice(&[i64::from(flag)]);
        Ok(group.all_reduce(flag, ReduceOp::Max)?.wait()?.int64_value(&[0]) > 0)
    }

    /// The sums over all ranks.
    pub fn sums(&self, numbers: &[f64]) -> Result<Vec<f64>> {
        let Some(Others { group, .. }) = &self.others else { return Ok(numbers.to_vec()) };
        let sums = group.all_reduce(Tensor::from_slice(numbers), ReduceOp::Sum)?.wait()?;
        Ok(Vec::try_from(&sums)?)
    }

    /// The sums of counts over all ranks.
    pub fn counts(&self, counts: &[u64]) -> Result<Vec<u64>> {
        let Some(Others { group, .. }) = &self.others else { return Ok(counts.to_vec()) };
        let counts: Vec<i64> = counts.iter().map(|count| count.cast_signed()).collect();
        let sums = group.all_reduce(Tensor::from_slice(&counts), ReduceOp::Sum)?.wait()?;
        Ok(Vec::<i64>::try_from(&sums)?.into_iter().map(i64::cast_unsigned).collect())
    }

    /// Does something on rank 0 only. If it fails there, it fails everywhere, for the same reason.
    pub fn lead<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        self.agree(self.leads().then(action).transpose())
    }

    /// Goes on only if all ranks are well: where one of them has an error, all get it, of several that of the lowest
    /// rank.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        if self.others.is_none() {
            return result;
        }
        let describe = |error: &anyhow::Error| format!("{} {error:#}", exit::code(error));
        let message = result.as_ref().err().map(describe);
        match (self.first(message)?, result) {
            (None, result) => result,
            (Some((failed, _)), Err(ours)) if failed == self.rank() => Err(ours),
            (Some((failed, told)), _) => {
                let (code, told) = told.split_once(' ').unwrap_or_default();
                let error = Err(anyhow!("rank {failed}: {told}"));
                if code == "2" { error.bad_input() } else { error }
            }
        }
    }

    /// The lowest rank that has something to tell, and what it tells; the same on all ranks.
    pub fn first(&self, ours: Option<String>) -> Result<Option<(usize, String)>> {
        let Some(Others { group, .. }) = &self.others else { return Ok(ours.map(|it| (0, it))) };
        // The lowest rank has the largest of these numbers; 0 is nobody.
        let (rank, size) = (number(self.rank()), number(self.size()));
        let number = if ours.is_some() { size - rank } else { 0 };
        let first = group.all_reduce(Tensor::from_slice(&[number]), ReduceOp::Max)?.wait()?;
        let first = usize::try_from(first.int64_value(&[0])).context("the number of a rank")?;
        if first == 0 {
            return Ok(None);
        }
        let first = self.size() - first;
        Ok(Some((first, self.tell(&ours.unwrap_or_default(), first)?)))
    }

    /// The same text on all ranks: that of `from`.
    pub fn tell(&self, text: &str, from: usize) -> Result<String> {
        let Some(Others { group, .. }) = &self.others else { return Ok(text.to_owned()) };
        let length = Tensor::from_slice(&[i64::try_from(text.len())?]);
        let length = group.broadcast(length, from)?.wait()?.int64_value(&[0]);
        if length == 0 {
            return Ok(String::new());
        }
        let bytes = if from == self.rank() {
            Tensor::from_slice(text.as_bytes()).to_kind(Kind::Int64)
        } else {
            Tensor::zeros([length], (Kind::Int64, Device::Cpu))
        };
        let bytes = group.broadcast(bytes, from)?.wait()?.to_kind(Kind::Uint8);
        Ok(String::from_utf8(Vec::try_from(&bytes)?)?)
    }

    /// Compares what should be the same on all ranks: names with their values. Where they differ, the rank and
    /// the names are told, on every rank alike.
    pub fn compare(&self, facts: impl FnOnce() -> Result<Vec<(String, String)>>) -> Result<()> {
        let Some(Others { group, store, .. }) = &self.others else { return Ok(()) };
        let text = serde_json::to_vec(&facts()?).context("what is compared before the start")?;
        store.set(&format!("facts/{}", self.rank()), &text)?;
        // Everyone reads everyone's, so that everyone ends with the same words.
        let read = |rank: usize| -> Result<Vec<(String, String)>> {
            let text = store.get(&format!("facts/{rank}")).map_err(|_| {
                anyhow!("rank {rank} did not come to the comparison before the start")
            })?;
            Ok(serde_json::from_slice(&text)?)
        };
        let first = read(0)?;
        for rank in 1..self.size() {
            let found = read(rank)?;
            if let Some(difference) = difference(&first, &found) {
                return Err(anyhow!(
                    "rank {rank} was started with something else than rank 0: {difference}\n\
                     hint: all ranks take the same program, configuration, shards and base"
                ))
                .bad_input();
            }
        }
        // A small sum shows that the network carries what it should before hours of work depend on it.
        let sum = group.all_reduce(Tensor::from_slice(&[number(self.rank())]), ReduceOp::Sum)?;
        let (sum, size) = (sum.wait()?.int64_value(&[0]), number(self.size()));
        if sum != size * (size - 1) / 2 {
            bail!("the sum of all ranks' numbers came out as {sum}");
        }
        Ok(())
    }

    /// Starts to bring all ranks' parts together in `whole`. Nothing if alone.
    pub fn all_gather(&self, whole: &Tensor, part: &Tensor) -> Result<Option<Work>> {
        let Some(others) = &self.others else { return Ok(None) };
        Ok(Some(others.tensors().all_gather(whole.shallow_clone(), part.shallow_clone())?))
    }

    /// Starts to exchange equal parts of `whole`: rank `i` gets the `i`-th of every rank, one after the other. Nothing if alone.
    ///
    /// Whoever adds them up has a reduce-scatter. Gloo's own adds up everything on all ranks and keeps a part: between two
    /// processes of one machine it takes three times as long.
    pub fn all_to_all(&self, whole: Tensor) -> Result<Option<Work>> {
        let Some(others) = &self.others else { return Ok(None) };
        Ok(Some(others.tensors().all_to_all(whole.empty_like(), whole)?))
    }

    /// Compares what this rank asked of the others up to now with what rank 0 did: a run whose ranks went apart must not be
    /// saved over a good one.
    pub fn check_transcript(&self) -> Result<()> {
        let ours = self.transcript.digest().to_string();
        let first = self.tell(&ours, 0)?;
        self.agree(if ours == first {
            Ok(())
        } else {
            Err(anyhow!("this rank and rank 0 made different calls: please report this"))
        })
    }

    /// Waits until all ranks have come here.
    pub fn barrier(&self) -> Result<()> {
        self.others.as_ref().map_or(Ok(()), |others| Ok(others.group.barrier()?))
    }
}

/// The first few names whose values differ, or that only one of the two has.
fn difference(first: &[(String, String)], other: &[(String, String)]) -> Option<String> {
    const SHOWN: usize = 4;
    fn find<'a>(facts: &'a [(String, String)], name: &str) -> &'a str {
        facts.iter().find(|(it, _)| it == name).map_or("not there", |(_, value)| value)
    }
    let mut names: Vec<&String> = first.iter().chain(other).map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name) && find(first, name) != find(other, name));
    let shown = names.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|name| {
            format!("`{name}` is {}, and on rank 0 {}", find(other, name), find(first, name))
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

fn number(n: usize) -> i64 {
    i64::try_from(n).expect("fewer ranks than 2^63")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_nothing_changes() {
        let alone = Ranks::alone();
        assert!(alone.leads());
        assert_eq!(alone.part(384), 0..384);
        assert_eq!(alone.sums(&[1.5, 2.0]).unwrap(), [1.5, 2.0]);
        assert_eq!(alone.lead(|| Ok(7)).unwrap(), Some(7));
        assert!(alone.agree::<()>(Err(anyhow!("no"))).is_err());
        alone.compare(|| bail!("nobody asks")).unwrap();
    }

    #[test]
    fn differences_are_told_by_name() {
        let facts = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let first = facts(&[("seed", "1"), ("steps", "8")]);
        assert_eq!(difference(&first, &first), None);
        assert_eq!(
            difference(&first, &facts(&[("seed", "2"), ("extra", "x")])).unwrap(),
            "`seed` is 2, and on rank 0 1; `steps` is not there, and on rank 0 8; \
             `extra` is x, and on rank 0 not there"
        );
    }
}
