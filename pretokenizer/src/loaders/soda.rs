//! `soda` and `soda_dialogue`: everyday talk between two people.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::Key;
use crate::config::sources::Cut;
use crate::loaders::coerced::Formatted;
use crate::loaders::{Context, Loaded, Made};
use crate::python;
use crate::sample::Sample;
use crate::source::repository;

/// `soda`: the first message also tells the scene, and who the assistant is.
pub(crate) fn soda(keys: &Cut, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let files = context.files("allenai/soda", None, "train")?;
    let max_length = Key::argument(keys.input_max_length.as_ref(), Some(32_768));
    context.each(&files, |row: Scene| {
        Ok(match row.turns(max_length) {
            Some(turns) => Made::Sample(Sample::alternating(turns)),
            None => Made::Dropped("not two speakers in turn"),
        })
    })?;
    Ok(Loaded::whole("SODA (soda)"))
}

/// `soda_dialogue`: all splits; a row may yield an empty conversation, as in the reference.
pub(crate) fn dialogue(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        conversation: String,
    }
    let files: Vec<PathBuf> = repository::all_files("emozilla/soda_synthetic_dialogue")?;
    context.each(&files, |row: Row| {
        let pairs = row.conversation.split("User: ").skip(1).filter_map(|pair| {
            let (question, answer) = pair.split_once("\nAssistant: ")?;
            let one = !answer.contains("\nAssistant: ");
            one.then(|| (question.to_string(), answer.to_string()))
        });
        Ok(Made::Sample(Sample::dialogue(pairs)))
    })?;
    Ok(Loaded::whole("SODADialogue"))
}

#[derive(Deserialize)]
struct Scene {
    narrative: Formatted,
    dialogue: Vec<String>,
    speakers: Vec<String>,
}

impl Scene {
    /// The turns, if exactly two people speak in turn and the second one has the last word.
    fn turns(self, max_length: Option<usize>) -> Option<Vec<String>> {
        let [first, second, ..] = &self.speakers[..] else { return None };
        let in_turn = self.speakers.iter().zip([first, second].into_iter().cycle());
        if first == second || !in_turn.into_iter().all(|(speaker, expected)| speaker == expected) {
            return None;
        }
        if self.dialogue.is_empty() || self.dialogue.len() % 2 == 1 {
            return None;
        }
        let scene = format!("{} You are {second}. ", self.narrative.0);
        let turns = self.dialogue.iter().enumerate().map(|(i, said)| {
            let turn = if i == 0 { scene.clone() + said } else { said.clone() };
            max_length.map_or(&*turn, |n| python::prefix(&turn, n)).to_string()
        });
        Some(turns.collect())
    }
}
