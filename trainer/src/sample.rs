//! Prompts -> answers, by a model in a Hugging Face folder or a checkpoint.
//!
//! A conversation becomes ChatML with the head of an assistant's turn, the model goes on from there a token at a time
//! with a key-value cache, and stops at the end of the turn.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use cli::{BadInput, Progress, Unit, bail_input, print};
use fs_err as fs;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shards::Role;
use shards::atomic::AtomicFile;
use tch::{Kind, Tensor};
use text::{Conversation, Message, Tokenizer};

use crate::checkpoint;
use crate::config::DeviceChoice;
use crate::device;
use crate::hf_tokenizer;
use crate::llama_config::LlamaConfig;
use crate::model::KvCache;
use crate::params::Model;
use crate::trained::Trained;
use crate::weights;

/// How the next token is chosen and when to stop.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most so many tokens.
    pub max_new_tokens: usize,
    /// 0 takes the most probable token; above, logits are divided by it and a token is drawn.
    pub temperature: f64,
    /// Draw only among the most probable tokens that together have this probability.
    pub top_p: f64,
    /// Draw only among so many most probable tokens; 0 for all.
    pub top_k: i64,
    /// Seeds the draws.
    pub seed: i64,
}

/// A model that answers.
#[derive(Debug)]
pub struct Sampler {
    model: Model,
    tokenizer: Tokenizer,
    /// Tokens that end an answer.
    ends: Vec<u32>,
    options: Options,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text, without the token that ended it.
    pub text: String,
    /// The tokens that were made, with the one that ended it.
    pub ids: Vec<u32>,
    /// Whether the model ended it by itself.
    pub ended: bool,
}

/// A line of a file of prompts. Other keys travel along to the output.
#[derive(Deserialize)]
struct Prompt {
    messages: Vec<PromptMessage>,
    answer: Option<String>,
}

#[derive(Deserialize)]
struct PromptMessage {
    role: String,
    content: String,
}

impl Sampler {
    /// Opens a Hugging Face folder, a run's folder, or a checkpoint.
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let mut remarks = Vec::new();
        let device = device::choose(DeviceChoice::Auto, &mut remarks)?;
        for remark in remarks {
            print::note(format!("warning: {remark}"));
        }
        let (model, tokenizer) =
            if checkpoint::is_checkpoint(folder) || checkpoint::latest(folder)?.is_some() {
                let trained = Trained::find(folder)?;
                let model = trained.model(device)?;
                (
                    model,
                    trained
                        .tokenizer
                        .context("the base model's folder has no tokenizer")
                        .bad_input()?,
                )
            } else {
                let config = LlamaConfig::read(folder)?;
                let tokenizer = hf_tokenizer::open_folder(folder).bad_input()?;
                let mut model = Model::zeros(config, Kind::Float, device);
                weights::load(folder, &mut model)?;
                (model, tokenizer)
            };
        let Some(turn_end) = hf_tokenizer::turn_end(&tokenizer) else {
            bail_input!(
                "the tokenizer in `{}` has no `<|im_end|>`, so the model was not trained on ChatML here",
                folder.display()
            );
        };
        let mut ends = model.config.eos_token_ids.clone();
        ends.push(turn_end);
        Ok(Self { model, tokenizer, ends, options })
    }

    /// Answers the last message of a conversation. `show` gets the text as it comes.
    pub fn answer(
        &self,
        conversation: &Conversation,
        mut show: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer> {
        let mut prompt = Vec::new();
        self.tokenizer.encoder().encode(&text::prompt(conversation), &mut prompt);
        let most = usize::try_from(self.model.config.max_position_embeddings).unwrap_or(usize::MAX);
        if prompt.len() >= most {
            bail_input!("the prompt has {} tokens, and the model {most} positions", prompt.len());
        }

        // The decoder sees the prompt too: how a token reads depends on what stands before it.
        let mut decoder = self.tokenizer.decoder();
        prompt.iter().for_each(|&id| drop(decoder.push(id)));
        let mut answer = Answer { text: String::new(), ids: Vec::new(), ended: false };
        let mut cache = KvCache::new(&self.model);
        let mut input = prompt.clone();
        while answer.ids.len() < self.options.max_new_tokens.min(most - prompt.len()) {
            cli::interrupt::check()?;
            let ids: Vec<i64> = input.iter().map(|&id| id.into()).collect();
            let tokens_bt = Tensor::from_slice(&ids).unsqueeze(0).to_device(self.model.device());
            let logits_bv = self.model.next_logits(&tokens_bt, &mut cache);
            let id = self.choose(&logits_bv.select(0, 0))?;
            answer.ids.push(id);
            if self.ends.contains(&id) {
                answer.ended = true;
                break;
            }
            let text = decoder.push(id);
            show(&text).context("writing the answer")?;
            answer.text += &text;
            input = vec![id];
        }
        let rest = decoder.finish();
        show(&rest).context("writing the answer")?;
        answer.text += &rest;
        Ok(answer)
    }

    /// The next token.
    ///
    /// # Shapes
    /// `logits_v`
    fn choose(&self, logits_v: &Tensor) -> Result<u32> {
        // Rows beyond the tokenizer only fill up the vocabulary.
        let logits_v =
            logits_v.narrow(0, 0, logits_v.size()[0].min(self.tokenizer.vocab_size().into()));
        let Options { temperature, top_p, top_k, .. } = self.options;
        let id = if temperature == 0.0 {
            logits_v.argmax(0, false)
        } else {
            let (sorted, ids) = (logits_v / temperature).sort(0, true);
            let kept = if top_k > 0 { sorted.size()[0].min(top_k) } else { sorted.size()[0] };
            let probabilities = sorted.narrow(0, 0, kept).softmax(0, Kind::Float);
            // A token stays while those before it have not reached `top_p`; the first always does.
            let before = probabilities.cumsum(0, Kind::Float) - &probabilities;
            let probabilities = probabilities * before.lt(top_p);
            ids.gather(0, &probabilities.multinomial(1, false), false).squeeze()
        };
        u32::try_from(id.int64_value(&[])).context("a token id")
    }
}

/// Answers one prompt on standard output.
pub fn one(folder: &Path, system: Option<String>, prompt: String, options: Options) -> Result<()> {
    cli::interrupt::listen()?;
    tch::manual_seed(options.seed);
    let sampler = Sampler::open(folder, options)?;
    let message = Message { role: Role::User, text: prompt, context: None };
    let answer = sampler
        .answer(&Conversation { system, messages: vec![message] }, |text| print::result(text))?;
    print::result("\n").context("writing the answer")?;
    if !answer.ended {
        print::note(format!(
            "cut after {} tokens\nhint: `--max-new-tokens` allows more",
            answer.ids.len()
        ));
    }
    Ok(())
}

/// Answers every line of a file; with `out`, writes each line with its answer, and if the lines have the expected
/// answers, says how many are right.
pub fn many(folder: &Path, prompts: &Path, out: Option<&Path>, options: Options) -> Result<()> {
    cli::interrupt::listen()?;
    let text = fs::read_to_string(prompts).bad_input()?;
    let lines: Vec<PromptLine> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| parse(line).with_context(|| format!("{}:{}", prompts.display(), i + 1)))
        .collect::<Result<_>>()
        .bad_input()?;
    if lines.is_empty() {
        bail_input!("`{}` has no prompts", prompts.display());
    }
    let sampler = Sampler::open(folder, options)?;
    let mut file = out.map(AtomicFile::create).transpose()?;

    let progress = Progress::new("answering", lines.len() as u64, Unit::Count("prompts"));
    let (mut right, mut expected) = (0, 0);
    for PromptLine { mut line, conversation, answer: wanted } in lines {
        // Each prompt begins the random numbers anew: an answer does not depend on the prompts before it.
        tch::manual_seed(sampler.options.seed);
        let answer = sampler.answer(&conversation, |_| Ok(()))?;
        line.insert("output".into(), json!(answer.text));
        line.insert("ended".into(), json!(answer.ended));
        if let Some(wanted) = wanted {
            let correct = answer.ended && answer.text == wanted;
            expected += 1;
            right += u32::from(correct);
            line.insert("correct".into(), json!(correct));
        }
        match &mut file {
            Some(file) => writeln!(file, "{}", Value::Object(line))?,
            None => print::result(format!("{}\n", Value::Object(line)))
                .context("writing the answers")?,
        }
        progress.inc(1);
    }
    progress.finish();
    if let Some(file) = file {
        file.commit()?;
    }
    if expected > 0 {
        print::note(format!("{right} of {expected} answers are exactly as expected"));
    }
    Ok(())
}

/// A line of a file of prompts, read.
struct PromptLine {
    /// All keys, as they go into the output.
    line: Map<String, Value>,
    conversation: Conversation,
    /// The answer that is expected, if one is.
    answer: Option<String>,
}

fn parse(line: &str) -> Result<PromptLine> {
    let prompt: Prompt = serde_json::from_str(line)?;
    let conversation = conversation(&prompt)?;
    Ok(PromptLine { line: serde_json::from_str(line)?, conversation, answer: prompt.answer })
}

fn conversation(prompt: &Prompt) -> Result<Conversation> {
    let mut conversation = Conversation { system: None, messages: Vec::new() };
    for (i, PromptMessage { role, content }) in prompt.messages.iter().enumerate() {
        let role = match role.as_str() {
            "system" if i == 0 => {
                conversation.system = Some(content.clone());
                continue;
            }
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => bail!(
                "message {i} has the role `{other}`, expected `user` or `assistant`, or `system` first"
            ),
        };
        conversation.messages.push(Message { role, text: content.clone(), context: None });
    }
    match conversation.messages.last() {
        Some(last) if last.role == Role::User => Ok(conversation),
        Some(last) => {
            bail!(
                "the last message is of the role `{}`, expected `user`: it is answered",
                last.role
            )
        }
        None => bail!("there is no message of the role `user` to answer"),
    }
}
