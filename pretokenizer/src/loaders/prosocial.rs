//! `prosocial_dialogue` and `explain_prosocial`: what is wrong with a sentence, and why.

use serde::Deserialize;

use crate::config::FileNames;
use crate::loaders::coerced::Formatted;
use crate::loaders::{Context, Loaded};
use crate::piece::Piece;
use crate::sample::Sample;
use crate::source::typed;

const DATASET: &str = "Englishman2022/prosocial-dialog-filtered";
const FILE: &str = "train.json";

/// `prosocial_dialogue`: a sample per rule of thumb.
pub(crate) fn dialogue(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        context: Formatted,
        rots: Vec<Formatted>,
    }
    let files = context.files(DATASET, Some(&FileNames::one(FILE)), "train")?;
    let pieces = |Row { context: Formatted(context), rots }: Row| {
        let samples = rots.into_iter().map(|rot| Sample::alternating([context.clone(), rot.0]));
        Ok(samples.map(Piece::from).collect::<Vec<_>>())
    };
    context.reader.for_each(&files, typed(), pieces, |place, pieces| {
        if pieces.is_empty() {
            context.samples.drop_row(place, "no rule of thumb");
        }
        pieces.iter().try_for_each(|piece| context.samples.push(place, piece).map(drop))
    })?;
    Ok(Loaded::whole("ProsocialDialogue (prosocial_dialogue)"))
}

/// `explain_prosocial`: a sample per annotation with its reason; the wording is drawn while the rows are read.
pub(crate) fn explanations(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        context: Formatted,
        safety_annotations: Vec<Formatted>,
        safety_annotation_reasons: Vec<Formatted>,
    }
    let files = context.files(DATASET, Some(&FileNames::one(FILE)), "train")?;
    context.reader.for_each(&files, typed(), Ok, |place, row: Row| {
        let said = &row.context.0;
        if row.safety_annotations.is_empty() || row.safety_annotation_reasons.is_empty() {
            context.samples.drop_row(place, "no annotation with a reason");
        }
        for (Formatted(a), Formatted(r)) in
            row.safety_annotations.iter().zip(&row.safety_annotation_reasons)
        {
            let because = format!("This sentence is {a} because {r}");
            let (question, answer) = match *context.streams.choice(&[0, 1, 2, 3]) {
                0 => (format!("'{said}' Why is this sentence {a}"), because),
                1 => (format!("Explain to me why this sentence is {a}: {said}"), because),
                2 => (
                    format!("'{said}' Why is this sentence {a}"),
                    format!("This sentence may need {a} because {r}"),
                ),
                _ => (
                    format!("'{said}' Explain to me why we need to {a} of this sentence"),
                    format!("We need to be {a} of this sentence because {r}"),
                ),
            };
            context.samples.push(place, &Sample::alternating([question, answer]).into())?;
        }
        Ok(())
    })?;
    Ok(Loaded::whole("ProsocialDialogueExplaination (explain_prosocial)"))
}
