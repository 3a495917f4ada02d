//! Prompts -> answers, by a model in a Hugging Face folder or a checkpoint.
//!
//! A conversation is written as the model's template has it, with the head of an assistant's turn; the model goes on from
//! there a token at a time with a key-value cache, and stops at the end of the turn.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use cli::{BadInput, Progress, Unit, bail_input, print};
use fs_err as fs;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shards::Role;
use shards::atomic::AtomicFile;
use tch::{Device, Kind, Tensor};
use text::{Conversation, Decoder, Message, Tokenizer};

use crate::chat::Chat;
use crate::checkpoint;
use crate::config::DeviceChoice;
use crate::device;
use crate::hf_tokenizer;
use crate::llama_config::LlamaConfig;
use crate::model::KvCache;
use crate::params::Model;
use crate::trained::Trained;
use crate::warp::{self, Warp};
use crate::weights;

/// How the next token is chosen and when to stop.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How the next token is chosen.
    pub warp: Warp,
    /// At most so many tokens.
    pub max_new_tokens: usize,
    /// Seeds the draws.
    pub seed: u64,
}

/// A model that answers.
#[derive(Debug)]
pub struct Sampler {
    model: Model,
    tokenizer: Tokenizer,
    chat: Chat,
    /// Tokens that end an answer.
    ends: Vec<u32>,
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
    pub fn open(folder: &Path) -> Result<Self> {
        let mut remarks = Vec::new();
        let device = device::choose(DeviceChoice::Auto, 0, &mut remarks)?;
        for remark in remarks {
            print::note(format!("warning: {remark}"));
        }
        let (model, tokenizer, chat) =
            if checkpoint::is_checkpoint(folder) || checkpoint::latest(folder)?.is_some() {
                let trained = Trained::find(folder)?;
                let model = trained.model(device)?;
                let spoken = trained.tokenizer.zip(trained.chat);
                let (tokenizer, chat) =
                    spoken.context("the base model's folder has no tokenizer").bad_input()?;
                (model, tokenizer, chat)
            } else {
                let config = LlamaConfig::read(folder)?;
                let tokenizer = hf_tokenizer::open_folder(folder).bad_input()?;
                let mut model = Model::zeros(config, Kind::Float, device);
                let chat = Chat::of_folder(folder, &tokenizer)?;
                weights::load(folder, &mut model)?;
                (model, tokenizer, chat)
            };
        let mut ends = model.config.eos_token_ids.clone();
        ends.extend(chat.end);
        if ends.is_empty() {
            bail_input!(
                "nothing ends an answer of `{}`: neither its chat template nor its `config.json` names a token",
                folder.display()
            );
        }
        Ok(Self { model, tokenizer, chat, ends })
    }

    /// Answers the last message of a conversation. `show` gets the text as it comes.
    pub fn answer(
        &self,
        conversation: &Conversation,
        options: &Options,
        mut show: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer> {
        let prompt = self.prompt(conversation)?;
        let Options { warp, max_new_tokens, seed } = options;
        let answers =
            self.generate(&[prompt], warp, *max_new_tokens, *seed, &[0], |_, text| show(text))?;
        answers.into_iter().next().context("an answer for each prompt")
    }

    /// A conversation's token ids, up to where the assistant begins to speak.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>> {
        let mut prompt = Vec::new();
        self.tokenizer.encoder().encode(&self.chat.prompt(conversation)?, &mut prompt);
        let most = self.positions();
        if prompt.len() >= most {
            bail_input!("the prompt has {} tokens, and the model {most} positions", prompt.len());
        }
        Ok(prompt)
    }

    /// Goes on from prompts of the same length, all at once. Each draws from a stream of its own. `show` gets the number
    /// of a prompt and more of its answer.
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        warp: &Warp,
        max_new_tokens: usize,
        seed: u64,
        streams: &[u64],
        mut show: impl FnMut(usize, &str) -> io::Result<()>,
    ) -> Result<Vec<Answer>> {
        let length = prompts.first().map_or(0, Vec::len);
        assert!(prompts.iter().all(|it| it.len() == length), "a batch has prompts of one length");
        let mut rows: Vec<Answering<'_>> =
            prompts.iter().map(|prompt| Answering::new(prompt, &self.tokenizer)).collect();
        let mut cache = KvCache::new(&self.model);
        let mut input: Vec<i64> = prompts.iter().flatten().map(|&id| id.into()).collect();
        for n_new in 0..max_new_tokens.min(self.positions() - length) {
            cli::interrupt::check()?;
            let tokens_bt = Tensor::from_slice(&input).view([prompts.len() as i64, -1]);
            let tokens_bt = tokens_bt.to_device(self.model.device());
            let logits_bv = self.model.next_logits(&tokens_bt, &mut cache);
            // Rows beyond the tokenizer only fill up the vocabulary.
            let used = logits_bv.size()[1].min(self.tokenizer.vocab_size().into());
            let logits_bv = logits_bv.narrow(1, 0, used).to_device(Device::Cpu);
            for (i, row) in rows.iter_mut().enumerate().filter(|(_, row)| !row.answer.ended) {
                let logits_v = logits_bv.get(i as i64);
                let scores_v = warp.scores(&logits_v, &row.tokens, n_new, &self.ends);
                let place = warp::place(seed, streams[i], n_new as u64);
                let text = row.take(warp.choose(&scores_v, place)?, &self.ends);
                show(i, &text).context("writing the answer")?;
            }
            if rows.iter().all(|row| row.answer.ended) {
                break;
            }
            // A row that has ended goes along; what comes after its end is not looked at.
            input = rows.iter().map(|row| i64::from(*row.tokens.last().unwrap_or(&0))).collect();
        }
        let mut answers = Vec::with_capacity(rows.len());
        for (i, row) in rows.into_iter().enumerate() {
            let (answer, rest) = row.finish();
            show(i, &rest).context("writing the answer")?;
            answers.push(answer);
        }
        Ok(answers)
    }

    /// What kind of template the model has.
    pub fn mode(&self) -> &'static str {
        if self.chat.is_chatml() { "chatml" } else { "chat_template" }
    }

    /// An answer with the token that ended it.
    pub fn with_end(&self, answer: &Answer) -> String {
        let end = answer.ids.last().filter(|_| answer.ended);
        let end = end.and_then(|&id| self.tokenizer.id_to_piece(id)).unwrap_or_default();
        format!("{}{end}", answer.text)
    }

    fn positions(&self) -> usize {
        usize::try_from(self.model.config.max_position_embeddings).unwrap_or(usize::MAX)
    }
}

/// An answer that is being made.
struct Answering<'t> {
    /// The prompt and what came after it.
    tokens: Vec<u32>,
    decoder: Decoder<'t>,
    answer: Answer,
}

impl<'t> Answering<'t> {
    fn new(prompt: &[u32], tokenizer: &'t Tokenizer) -> Self {
        // The decoder sees the prompt too: how a token reads depends on what stands before it.
        let mut decoder = tokenizer.decoder();
        prompt.iter().for_each(|&id| drop(decoder.push(id)));
        let answer = Answer { text: String::new(), ids: Vec::new(), ended: false };
        Self { tokens: prompt.to_vec(), decoder, answer }
    }

    /// Takes the next token and gives the text that became certain.
    fn take(&mut self, id: u32, ends: &[u32]) -> String {
        self.tokens.push(id);
        self.answer.ids.push(id);
        self.answer.ended = ends.contains(&id);
        if self.answer.ended {
            return String::new();
        }
        let text = self.decoder.push(id);
        self.answer.text += &text;
        text
    }

    /// The answer, and what of it was still uncertain.
    fn finish(mut self) -> (Answer, String) {
        let rest = self.decoder.finish();
        self.answer.text += &rest;
        (self.answer, rest)
    }
}

/// Answers one prompt on standard output.
pub fn one(folder: &Path, system: Option<String>, prompt: String, options: Options) -> Result<()> {
    cli::interrupt::listen()?;
    let sampler = Sampler::open(folder)?;
    let message = Message { role: Role::User, text: prompt, context: None };
    let conversation = Conversation { system, messages: vec![message] };
    let answer = sampler.answer(&conversation, &options, |text| print::result(text))?;
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
pub fn many(
    folder: &Path,
    prompts: &Path,
    out: Option<&Path>,
    batch: usize,
    options: Options,
) -> Result<()> {
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
    let sampler = Sampler::open(folder)?;
    let mut file = out.map(AtomicFile::create).transpose()?;

    let progress = Progress::new("answering", lines.len() as u64, Unit::Count("prompts"));
    let (mut right, mut expected) = (0, 0);
    let answers = answer_all(&sampler, &lines, batch, &options, &progress)?;
    for (PromptLine { mut line, answer: wanted, .. }, answer) in lines.into_iter().zip(answers) {
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

/// The answers in the order of the lines. Prompts of the same length are answered together, at most `batch` at a time.
fn answer_all(
    sampler: &Sampler,
    lines: &[PromptLine],
    batch: usize,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Answer>> {
    let mut of_length: BTreeMap<usize, Vec<(usize, Vec<u32>)>> = BTreeMap::new();
    for (i, line) in lines.iter().enumerate() {
        let prompt = sampler.prompt(&line.conversation)?;
        of_length.entry(prompt.len()).or_default().push((i, prompt));
    }
    let mut answers = BTreeMap::new();
    for same in of_length.values().flat_map(|same| same.chunks(batch.max(1))) {
        let prompts: Vec<Vec<u32>> = same.iter().map(|(_, prompt)| prompt.clone()).collect();
        let streams = vec![0; same.len()];
        let Options { warp, max_new_tokens, seed } = options;
        let made =
            sampler.generate(&prompts, warp, *max_new_tokens, *seed, &streams, |_, _| Ok(()))?;
        answers.extend(same.iter().map(|(i, _)| *i).zip(made));
        progress.inc(same.len() as u64);
    }
    Ok(answers.into_values().collect())
}

/// A conversation in the terminal, in the template that the model was trained with. An empty line or the end of the
/// input ends it.
pub fn chat(folder: &Path, system: Option<String>, options: Options) -> Result<()> {
    cli::interrupt::listen()?;
    let sampler = Sampler::open(folder)?;
    let mut conversation = Conversation { system, messages: Vec::new() };
    loop {
        print::result("> ")?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).context("reading what you type")?;
        let said = line.trim_end_matches(['\n', '\r']);
        if said.trim().is_empty() {
            return Ok(());
        }
        conversation.messages.push(Message { role: Role::User, text: said.into(), context: None });
        let answer = sampler.answer(&conversation, &options, |text| print::result(text))?;
        print::result("\n")?;
        conversation.messages.push(Message {
            role: Role::Assistant,
            text: answer.text,
            context: None,
        });
    }
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
