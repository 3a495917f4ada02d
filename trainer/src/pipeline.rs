//! The micro-batches of an update, through the stages of a pipeline: one forward, one backward (1F1B, arXiv:2104.04473).
//!
//! A stage first sends as many micro-batches forward as there are stages behind it, then takes turns, and at the end brings
//! back what is still under way. So the stage `i` of `p` keeps at most `p - i` micro-batches for the way back, and of the
//! time in which `m` micro-batches are computed, `(p - 1) / m` more are waited. The micro-batches come back in their order:
//! a stage adds up the same gradients in the same order as one rank that has the whole model.
//!
//! What a turn needs is asked for a turn ahead, so that it travels while something is computed; and before a turn's result
//! is sent, that of the turn before has arrived. Then no two stages wait for each other: a test plays all schedules through.
//! What comes of a turn's own result is asked for after that was sent: it cannot come before, and CUDA does not promise that a
//! GPU on which something waits computes anything else (it may want to load a kernel, and load it when all is quiet).

use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Context, Result};
use tch::{Kind, Tensor};
use torch_ext::Work;

use crate::backward::{self, Back, Pass, Underway};
use crate::batch::MicroBatch;
use crate::fault::{Fault, planted};
use crate::gradients::Gradients;
use crate::params::Model;
use crate::ranks::Ranks;

/// What a stage does with a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Brings it forward.
    Forward(usize),
    /// Brings it back.
    Backward(usize),
}

/// What a stage, of so many, does in an update of so many micro-batches.
pub fn turns(stage: usize, stages: usize, micro_batches: usize) -> Vec<Turn> {
    let ahead = (stages - 1 - stage).min(micro_batches);
    let forward = (0..micro_batches).map(Turn::Forward);
    let backward = (0..micro_batches).map(Turn::Backward);
    let both = forward.clone().skip(ahead).zip(backward.clone());
    let both = both.flat_map(|(forward, backward)| [forward, backward]);
    forward.take(ahead).chain(both).chain(backward.skip(micro_batches - ahead)).collect()
}

/// Whether what this turn of a stage needs comes of its turn before: where all micro-batches have gone forward, and the stage
/// behind has none of them back before it has the last.
fn is_answer(stage: usize, stages: usize, micro_batches: usize, turn: usize) -> bool {
    turn == micro_batches && stages - 1 - stage >= micro_batches
}

/// Runs the micro-batches that this rank's pipeline takes of an update forward and backward: adds their gradients, and gives
/// this stage's part of the update's loss. All stages come here with the same micro-batches, which all have something to
/// learn.
pub fn update(
    model: &Model,
    batches: &[&MicroBatch],
    pass: Pass,
    gradients: &mut Gradients,
) -> Result<Tensor> {
    let mut loss = Tensor::zeros([], (Kind::Double, model.device()));
    if batches.is_empty() {
        // Other pipelines have some, and add theirs up with what there is here.
        gradients.begin(true);
        backward::idle(model, gradients)?;
        return Ok(loss);
    }
    let stages = &model.mesh().stages;
    let turns = turns(stages.rank(), stages.size(), batches.len());
    let mut neighbours = Neighbours::of(model);
    let mut underway = VecDeque::new();
    neighbours.ask(turns.first(), batches)?;
    for (number, turn) in turns.iter().enumerate() {
        let arrived = neighbours.take()?;
        let ahead = !is_answer(stages.rank(), stages.size(), batches.len(), number + 1);
        if ahead {
            neighbours.ask(turns.get(number + 1), batches)?;
        }
        match *turn {
            Turn::Forward(batch) => {
                let there = Underway::forward(model, batches[batch], pass, arrived)?;
                neighbours.send_on(there.output())?;
                underway.push_back(there);
            }
            Turn::Backward(batch) => {
                let oldest = match planted(Fault::LatestComesBack) {
                    true => underway.pop_back(),
                    false => underway.pop_front(),
                };
                let oldest = oldest.context("what comes back went forward")?;
                gradients.begin(batch + 1 == batches.len());
                let Back { loss: its_loss, input_grad } = oldest.back(arrived, gradients)?;
                loss += its_loss;
                if let Some(input_grad) = input_grad {
                    neighbours.send_back(input_grad)?;
                }
            }
        }
        if !ahead {
            neighbours.ask(turns.get(number + 1), batches)?;
        }
    }
    neighbours.settle()?;
    Ok(loss)
}

/// What comes out of the last block, on the last stage, without gradients; nothing on the others. Of a pipeline, all stages
/// come here with the same micro-batch.
///
/// # Shapes
/// -> `x_btd`, or `x_md` of the places that this rank keeps
pub fn forward(model: &Model, batch: &MicroBatch) -> Result<Option<Tensor>> {
    let mut neighbours = Neighbours::of(model);
    neighbours.ask(Some(&Turn::Forward(0)), &[batch])?;
    let arrived = neighbours.take()?;
    let x_btd = backward::forward(model, batch, arrived)?;
    if model.has_head() {
        return Ok(Some(x_btd));
    }
    neighbours.send_on(x_btd)?;
    neighbours.settle()?;
    Ok(None)
}

/// The stages before and behind this one.
struct Neighbours<'a> {
    model: &'a Model,
    stages: Rc<Ranks>,
    /// What the next turn needs, and what the last one gave, if they are on their way.
    arriving: Option<Work>,
    leaving: Option<Work>,
}

impl<'a> Neighbours<'a> {
    fn of(model: &'a Model) -> Self {
        let stages = Rc::clone(&model.mesh().stages);
        Self { model, stages, arriving: None, leaving: None }
    }

    /// Asks the neighbour for what a turn needs, if it needs anything.
    fn ask(&mut self, turn: Option<&Turn>, batches: &[&MicroBatch]) -> Result<()> {
        let model = self.model;
        let (batch, from) = match turn {
            Some(Turn::Forward(batch)) if model.stage().start > 0 => {
                (batch, self.stages.rank() - 1)
            }
            // Nothing comes back to where nothing needs it.
            Some(Turn::Backward(batch)) if self.grads_come_back() => {
                (batch, self.stages.rank() + 1)
            }
            _ => return Ok(()),
        };
        let size = model.hidden_size_of(batches[*batch]);
        let place = Tensor::empty(size, (model.kind(), model.device()));
        self.arriving = Some(self.stages.receive(place, from)?);
        Ok(())
    }

    fn grads_come_back(&self) -> bool {
        let model = self.model;
        !model.has_head() && model.stage().end > model.lowest_trained()
    }

    /// Waits for what was asked for.
    fn take(&mut self) -> Result<Option<Tensor>> {
        let arrived = self.arriving.take().map(Work::wait).transpose();
        arrived.context("from another stage")
    }

    /// Begins to send hidden states to the next stage, if there is one.
    fn send_on(&mut self, x_btd: Tensor) -> Result<()> {
        if self.model.has_head() { Ok(()) } else { self.send(x_btd, self.stages.rank() + 1) }
    }

    /// Begins to send their gradient to the stage before.
    fn send_back(&mut self, mut grad_btd: Tensor) -> Result<()> {
        if planted(Fault::ScaledByStages) {
            grad_btd /= self.stages.size() as f64;
        }
        self.send(grad_btd, self.stages.rank() - 1)
    }

    fn send(&mut self, tensor: Tensor, to: usize) -> Result<()> {
        self.settle()?;
        self.leaving = Some(self.stages.send(tensor.contiguous(), to)?);
        Ok(())
    }

    /// Waits until what was sent has arrived.
    fn settle(&mut self) -> Result<()> {
        let sent = self.leaving.take().map(Work::wait).transpose();
        sent.map(drop).context("to another stage")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A pipeline in which nothing is sent before the other side has asked for it: the most that a network may demand.
    struct Played {
        /// How many messages from one stage to another are sent, and how many asked for.
        sent: BTreeMap<(usize, usize), usize>,
        asked: BTreeMap<(usize, usize), usize>,
        stages: Vec<Stage>,
    }

    struct Stage {
        turns: Vec<Turn>,
        /// How many turns it has computed.
        done: usize,
        /// The message that is waited for: from which stage, and which of its.
        arriving: Option<(usize, usize)>,
        leaving: Option<(usize, usize)>,
        /// When it is through with its last turn, and when each turn's result was there.
        time: u32,
        results: BTreeMap<(bool, usize), u32>,
    }

    impl Played {
        fn new(stages: usize, micro_batches: usize) -> Self {
            let stage = |number| Stage {
                turns: turns(number, stages, micro_batches),
                done: 0,
                arriving: None,
                leaving: None,
                time: 0,
                results: BTreeMap::new(),
            };
            let all = (0..stages).map(stage).collect();
            let mut played = Self { sent: BTreeMap::new(), asked: BTreeMap::new(), stages: all };
            (0..stages).for_each(|stage| played.ask(stage, 0));
            played
        }

        /// The stage that gives what a turn needs.
        fn source(&self, stage: usize, turn: Turn) -> Option<usize> {
            match turn {
                Turn::Forward(_) => stage.checked_sub(1),
                Turn::Backward(_) => Some(stage + 1).filter(|it| *it < self.stages.len()),
            }
        }

        fn ask(&mut self, stage: usize, number: usize) {
            let Some(&turn) = self.stages[stage].turns.get(number) else { return };
            let Some(from) = self.source(stage, turn) else { return };
            let asked = self.asked.entry((from, stage)).or_default();
            self.stages[stage].arriving = Some((from, *asked));
            *asked += 1;
        }

        fn met(&self, from: usize, to: usize, number: usize) -> bool {
            let count = |of: &BTreeMap<_, usize>| of.get(&(from, to)).copied().unwrap_or(0);
            count(&self.sent) > number && count(&self.asked) > number
        }

        /// Lets a stage do what `update` does in a turn, if it need not wait; says whether it did.
        fn turn(&mut self, stage: usize) -> bool {
            let Stage { turns, done, arriving, leaving, .. } = &self.stages[stage];
            let Some(&turn) = turns.get(*done) else { return false };
            let arrived = arriving.is_none_or(|(from, number)| self.met(from, stage, number));
            let left = leaving.is_none_or(|(to, number)| self.met(stage, to, number));
            let to = match turn {
                Turn::Forward(_) => Some(stage + 1).filter(|it| *it < self.stages.len()),
                Turn::Backward(_) => stage.checked_sub(1),
            };
            let done = *done;
            // `update` asks for the next before it waits for what it sent: it waits no longer than this.
            if !arrived || (to.is_some() && !left) {
                return false;
            }
            let (forward, batch, takes) = match turn {
                Turn::Forward(batch) => (true, batch, 1),
                Turn::Backward(batch) => (false, batch, 2),
            };
            let needed = self.source(stage, turn).map_or(0, |from| {
                // The message that came is that of the micro-batch whose turn it is.
                self.stages[from].results[&(forward, batch)]
            });
            self.stages[stage].arriving = None;
            self.ask(stage, done + 1);
            if let Some(to) = to {
                let sent = self.sent.entry((stage, to)).or_default();
                assert_eq!(*sent, batch, "messages go in the order of the micro-batches");
                self.stages[stage].leaving = Some((to, *sent));
                *sent += 1;
            }
            let stage = &mut self.stages[stage];
            stage.time = stage.time.max(needed) + takes;
            stage.results.insert((forward, batch), stage.time);
            stage.done += 1;
            true
        }
    }

    /// All schedules of a pipeline.
    struct Schedules {
        micro_batches: usize,
        of: Vec<Vec<Turn>>,
    }

    /// A stage, and the number of one of its turns.
    type At = (usize, usize);

    impl Schedules {
        fn find(&self, stage: usize, turn: Turn) -> At {
            (stage, self.of[stage].iter().position(|it| *it == turn).unwrap())
        }

        /// The turn that gives what a turn needs, if it needs anything.
        fn giver(&self, (stage, number): At) -> Option<At> {
            let turn = self.of[stage][number];
            match turn {
                Turn::Forward(_) => stage.checked_sub(1).map(|it| self.find(it, turn)),
                Turn::Backward(_) => {
                    (stage + 1 < self.of.len()).then(|| self.find(stage + 1, turn))
                }
            }
        }

        /// The turn that takes what a turn gives, if one does.
        fn taker(&self, (stage, number): At) -> Option<At> {
            let turn = self.of[stage][number];
            match turn {
                Turn::Forward(_) => (stage + 1 < self.of.len()).then(|| self.find(stage + 1, turn)),
                Turn::Backward(_) => stage.checked_sub(1).map(|it| self.find(it, turn)),
            }
        }

        /// What must have been before a turn's result is sent: the stage's turn before, that which gives what it needs, and
        /// those before which nobody asked for what the stage sent last.
        fn before(&self, (stage, number): At) -> Vec<At> {
            let mut before: Vec<At> =
                number.checked_sub(1).map(|it| (stage, it)).into_iter().collect();
            before.extend(self.giver((stage, number)));
            let sent = (0..number).rev().find_map(|it| self.taker((stage, it)));
            if let Some((there, taking)) = sent.filter(|(_, taking)| *taking > 0) {
                if is_answer(there, self.of.len(), self.micro_batches, taking) {
                    before.push((there, taking - 1));
                } else {
                    before.extend(taking.checked_sub(2).map(|it| (there, it)));
                    before.extend(self.giver((there, taking - 1)));
                }
            }
            before
        }

        /// Whether one turn must have been before another.
        fn comes_of(&self, later: At, earlier: At) -> bool {
            let mut seen = vec![later];
            let mut next = 0;
            while let Some(&at) = seen.get(next) {
                let more = self.before(at).into_iter().filter(|it| !seen.contains(it));
                let more: Vec<At> = more.collect();
                seen.extend(more);
                next += 1;
            }
            seen.contains(&earlier)
        }
    }

    #[test]
    fn what_is_asked_for_before_a_turn_does_not_come_of_it() {
        for stages in 2..=6 {
            for micro_batches in 1..=9 {
                let of = (0..stages).map(|it| turns(it, stages, micro_batches)).collect();
                let schedules = Schedules { micro_batches, of };
                for (stage, turns) in schedules.of.iter().enumerate() {
                    for number in 1..turns.len() {
                        let Some(giver) = schedules.giver((stage, number)) else { continue };
                        let what =
                            format!("turn {number} of stage {stage} of {stages}, {micro_batches}");
                        let expected = is_answer(stage, stages, micro_batches, number);
                        assert_eq!(
                            schedules.comes_of(giver, (stage, number - 1)),
                            expected,
                            "{what}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_stages_wait_for_each_other_and_the_time_that_is_waited_is_that_of_the_formula() {
        for stages in 1..=8 {
            for micro_batches in 1..=32 {
                let mut played = Played::new(stages, micro_batches);
                while (0..stages).any(|stage| played.turn(stage)) {}
                for (number, stage) in played.stages.iter().enumerate() {
                    let what = format!("stage {number} of {stages}, {micro_batches} micro-batches");
                    assert_eq!(stage.done, 2 * micro_batches, "{what} waits for ever");
                    let (mut underway, mut most) = (0_i64, 0);
                    for turn in &stage.turns {
                        underway += if matches!(turn, Turn::Forward(_)) { 1 } else { -1 };
                        most = most.max(underway);
                    }
                    let expected = micro_batches.min(stages - number);
                    assert_eq!(most, i64::try_from(expected).unwrap(), "{what}");
                }
                let last = played.stages.iter().map(|stage| stage.time).max().unwrap();
                // Forward takes 1, backward 2: of the `m` of each, `p - 1` more are waited.
                let expected = 3 * (micro_batches + stages - 1);
                assert_eq!(last, u32::try_from(expected).unwrap(), "{stages} {micro_batches}");
            }
        }
    }
}
