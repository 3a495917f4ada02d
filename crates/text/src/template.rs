//! A conversation -> its text, and who speaks in each part of it, by any template.
//!
//! # Whose is which part
//! The text of a conversation is cut into turns, one for each message, and a turn is its message's: header, content and
//! what closes it, as in ChatML. A turn ends where the text ends that the template makes of the conversation up to that
//! message, if the whole text begins with that one. Templates that write the last turn in another way than the others
//! are met by their ends: what the shorter text has behind the message, as far as the whole text has the same there.
//! An end-of-text token behind an assistant's turn, with no more than white space between, belongs to the turn.
//!
//! - A system message, or a context, that the template puts inside another's turn (Llama-2: into the first user's) has the
//!   role of what it is for its own characters, and the turn's owner has the rest.
//! - What a template adds by itself (`<s>`, a default system message) has the role of the turn that follows it. If that is an
//!   assistant's, it is the system's up to what opens such turns, or up to the content where that is not found.
//! - With [`Header::Untrained`], what opens an assistant's turn (the generation prompt) has the role of a context.
//! - Where a template has `{% generation %}` blocks, these are the assistant's and nothing else is; what is left of an
//!   assistant's turn is context.
//!
//! # Proofs
//! Messages are found by marks that go through the template with them, and the marked text must be the plain one when the
//! marks are taken out. Every turn must contain its message's marks. Spans cover the text without gap or overlap, since they are
//! made from one role per byte. A conversation of which this cannot be shown is refused, not guessed at.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::NaiveDate;
use minijinja::Value;
use shards::Role;

use crate::chatml;
use crate::jinja::{Jinja, Refusal};
use crate::marks::{self, Unmarked};
use crate::template_file::{TemplateError, TemplateFile};

/// A text with the role of every part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// All of it.
    pub text: String,
    /// Where each part ends, and whose it is; the last one ends with the text.
    pub spans: Vec<(usize, Role)>,
}

/// Whether what opens an assistant's turn is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It has the assistant's role, as in the reference.
    #[default]
    Trained,
    /// It has the role of a context.
    Untrained,
}

/// How conversations become text.
#[derive(Debug)]
pub enum Template {
    /// The reference's; see [`chatml`].
    ChatMl(Header),
    /// A Jinja template.
    Jinja(Box<ChatTemplate>),
}

impl Template {
    /// The text of a conversation; [`chatml::turns`] has its turns.
    pub fn render(&self, turns: &[Turn<'_>]) -> Result<Rendered, Refusal> {
        match self {
            Self::ChatMl(header) => Ok(chatml_spans(turns, *header)),
            Self::Jinja(template) => template.render(turns),
        }
    }

    /// What a model is given when it is to answer: the turns so far, and the head of the assistant's.
    pub fn prompt(&self, turns: &[Turn<'_>]) -> Result<String, Refusal> {
        match self {
            Self::ChatMl(header) => {
                let prompt = chatml_spans(turns, *header).text;
                Ok(format!("{prompt}{}{}\n", chatml::TURN_START, Role::Assistant.name()))
            }
            Self::Jinja(template) => template.plain(turns, true).map(|prompt| prompt.text),
        }
    }
}

fn chatml_spans(turns: &[Turn<'_>], header: Header) -> Rendered {
    let mut rendered = Rendered::default();
    for &(role, text) in turns {
        let start = rendered.text.len();
        chatml::write_turn(role, text, &mut rendered.text);
        if role == Role::Assistant && header == Header::Untrained {
            let opening = rendered.text[start..].find('\n').map_or(0, |end| end + 1);
            rendered.spans.push((start + opening, Role::Context));
        }
        rendered.spans.push((rendered.text.len(), role));
    }
    rendered
}

/// A Jinja template, ready for use.
#[derive(Debug)]
pub struct ChatTemplate {
    jinja: Jinja,
    header: Header,
    eos_token: Option<String>,
    /// What opens an assistant's turn: the generation prompt, and what stands before a sample answer.
    openings: [String; 2],
}

/// A message as the template sees it: whose it is, and what is said.
pub type Turn<'c> = (Role, &'c str);

/// Where a message's text is known to begin and to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    start: Option<usize>,
    end: Option<usize>,
}

impl Place {
    fn is_known(self) -> bool {
        self.start.is_some() || self.end.is_some()
    }

    fn first(self) -> Option<usize> {
        self.start.or(self.end)
    }

    fn last(self) -> Option<usize> {
        self.end.or(self.start)
    }
}

impl ChatTemplate {
    /// Compiles a template. `variables` are seen by it beside its special tokens; `date` is what `strftime_now` writes.
    pub fn compile(
        file: &TemplateFile,
        variables: &BTreeMap<String, serde_json::Value>,
        date: Option<NaiveDate>,
        header: Header,
    ) -> Result<Self, TemplateError> {
        let mut all = file.special_tokens.clone();
        all.extend(variables.clone());
        let eos_token = all.get("eos_token").and_then(|it| it.as_str());
        let eos_token = eos_token.filter(|it| !it.is_empty()).map(String::from);
        let jinja = Jinja::compile(&file.source, &all, date)
            .map_err(|what| TemplateError::Syntax { file: file.file.clone(), what })?;
        let mut template = Self { jinja, header, eos_token, openings: Default::default() };
        let sample = [(Role::User, "?"), (Role::Assistant, "!")];
        // Behind the question, up to the answer or the end.
        let behind = |n: usize, prompted: bool| {
            let text = template.text_of(&sample[..n], |_| true, prompted).unwrap_or_default();
            let start = text.ends.iter().find(|it| it.0 == 0)?.1;
            let end = text.starts.iter().find(|it| it.0 == 1).map_or(text.text.len(), |it| it.1);
            text.text.get(start..end).map(String::from)
        };
        if let Some(asked) = behind(1, false) {
            template.openings = [behind(1, true), behind(2, false)]
                .map(|it| it.and_then(|it| Some(it[template.n_leading(&asked, &it)?..].to_owned())))
                .map(Option::unwrap_or_default);
        }
        Ok(template)
    }

    fn render(&self, messages: &[Turn<'_>]) -> Result<Rendered, Refusal> {
        if let Some(i) = messages.iter().position(|(_, text)| text.contains(marks::is_mark)) {
            return Err(Refusal::Noncharacter { message: i + 1 });
        }
        let whole = self.plain(messages, false)?;
        let places = self.places(messages, &whole)?;
        let n_inside = self.n_inside(messages, &places, &whole.text);
        let ends = self.turn_ends(messages, n_inside, &places, &whole)?;

        let mut roles = vec![Role::User; whole.text.len()];
        let mut start = 0;
        for (i, end) in (n_inside..).zip(ends) {
            let role = messages[i].0;
            if role == Role::Assistant && i == n_inside {
                let before = &whole.text[..places[i].first().unwrap_or(0)];
                start = self.before_opening(before).unwrap_or(before.len());
                roles[..start].fill(Role::System);
            }
            roles[start..end].fill(role);
            if role == Role::Assistant && self.jinja.has_generation {
                roles[start..end].fill(Role::Context);
            } else if role == Role::Assistant && self.header == Header::Untrained {
                let opening = self.opening(&messages[..i], &whole.text, start..end, places[i]);
                roles[start..opening].fill(Role::Context);
            }
            start = end;
        }
        for ((role, _), place) in messages.iter().zip(&places).take(n_inside) {
            if let Place { start: Some(start), end: Some(end) } = *place {
                roles[start..end].fill(*role);
            }
        }
        for generated in &whole.generated {
            roles[generated.clone()].fill(Role::Assistant);
        }
        Ok(Rendered { spans: spans(&roles), text: whole.text })
    }

    /// The text of messages as they are.
    fn plain(
        &self,
        messages: &[Turn<'_>],
        add_generation_prompt: bool,
    ) -> Result<Unmarked, Refusal> {
        self.text_of(messages, |_| false, add_generation_prompt)
    }

    /// The text of messages of which some are marked.
    fn text_of(
        &self,
        messages: &[Turn<'_>],
        is_marked: impl Fn(usize) -> bool,
        add_generation_prompt: bool,
    ) -> Result<Unmarked, Refusal> {
        let message = |(i, (role, text)): (usize, &Turn<'_>)| {
            let text = match is_marked(i) {
                true => marks::put_in(text, i),
                false => (*text).to_owned(),
            };
            Value::from_pairs([("role", role.name().to_owned()), ("content", text)])
        };
        let values: Vec<Value> = messages.iter().enumerate().map(message).collect();
        Ok(marks::take_out(&self.jinja.render(&values, add_generation_prompt)?))
    }

    /// Where the messages stand. All are marked at once; if the template treats some of them in another way
    /// then, each is marked alone, and those remain unknown.
    fn places(&self, messages: &[Turn<'_>], whole: &Unmarked) -> Result<Vec<Place>, Refusal> {
        let marked = |is_marked: &dyn Fn(usize) -> bool| {
            let marked = self.text_of(messages, is_marked, false).ok();
            marked.filter(|marked| marked.text == whole.text)
        };
        let all = marked(&|_| true);
        let mut places = Vec::with_capacity(messages.len());
        for (i, (role, text)) in messages.iter().enumerate() {
            let alone = if all.is_some() { None } else { marked(&|other| other == i) };
            let place = all.as_ref().or(alone.as_ref()).map(|marked| Place {
                start: marked.starts.iter().find(|it| it.0 == i).map(|it| it.1),
                end: marked.ends.iter().rfind(|it| it.0 == i).map(|it| it.1),
            });
            let is_blank = text.trim().is_empty();
            if place.is_some_and(|place| !place.is_known()) && !is_blank {
                return Err(Refusal::LeftOut { message: i + 1, role: *role });
            }
            places.push(place.unwrap_or_default());
        }
        Ok(places)
    }

    /// How many of the first messages stand inside another's turn: a system message that has no turn of its own.
    fn n_inside(&self, messages: &[Turn<'_>], places: &[Place], whole: &str) -> usize {
        let leads = messages.first().is_some_and(|(role, _)| *role == Role::System);
        if !leads || messages.len() == 1 {
            return 0;
        }
        let alone = self.plain(&messages[..1], false).ok();
        let end = alone.and_then(|alone| self.n_leading(&alone.text, whole));
        let has_turn = |end: usize| end > 0 && places[0].last().is_none_or(|last| last <= end);
        usize::from(!end.is_some_and(has_turn))
    }

    /// Where each turn ends, from that of message `first` on.
    fn turn_ends(
        &self,
        messages: &[Turn<'_>],
        first: usize,
        places: &[Place],
        whole: &Unmarked,
    ) -> Result<Vec<usize>, Refusal> {
        let mut ends = Vec::with_capacity(messages.len());
        let mut last_end = 0;
        for i in first..messages.len() {
            let end = if i + 1 == messages.len() {
                whole.text.len()
            } else {
                let from = places[i].last().map_or(last_end, |last| last.max(last_end));
                let to = places[i + 1..].iter().find_map(|place| place.first());
                let between = from..to.unwrap_or(whole.text.len());
                if between.start > between.end {
                    return Err(Refusal::Mixed { message: i + 1 });
                }
                self.turn_end(messages, i, places, &whole.text, between)?
            };
            if places[i].first().is_some_and(|start| start < last_end) {
                return Err(Refusal::Mixed { message: i + 1 });
            }
            ends.push(end);
            last_end = end;
        }
        Ok(ends)
    }

    /// Where the turn of message `i` ends, between its text and the next one's.
    fn turn_end(
        &self,
        messages: &[Turn<'_>],
        i: usize,
        places: &[Place],
        whole: &str,
        between: Range<usize>,
    ) -> Result<usize, Refusal> {
        let shorter = self.text_of(&messages[..=i], |it| it == i, false);
        let after_text = |shorter: &Unmarked| {
            let (_, end) = *shorter.ends.last()?;
            let (tail, between_texts) = (&shorter.text[end..], &whole[between.clone()]);
            let n = self.n_leading(tail, between_texts);
            Some(between.start + n.unwrap_or_else(|| n_same_tags(tail, between_texts)))
        };
        let plain = self.plain(&messages[..=i], false);
        let plain = plain.ok().and_then(|plain| self.n_leading(&plain.text, whole));
        let plain = plain.filter(|end| (between.start..=between.end).contains(end));
        let end = plain.or_else(|| {
            let shorter = shorter.ok().filter(|_| places[i].end.is_some())?;
            after_text(&shorter)
        });
        let is_assistant = messages[i].0 == Role::Assistant;
        match end {
            Some(end) => {
                let eos = self.eos_token.as_deref().filter(|_| is_assistant);
                let rest = whole[end..between.end].trim_start();
                let behind = eos.and_then(|eos| rest.strip_prefix(eos));
                Ok(behind.map_or(end, |behind| between.end - behind.len()))
            }
            // What stands between a question and an answer is not trained on when nobody knows whose it is.
            None if !is_assistant && places[i + 1].start.is_some() => {
                let before = self.before_opening(&whole[between.clone()]);
                Ok(before.map_or(between.end, |before| between.start + before))
            }
            None => Err(Refusal::Mixed { message: i + 1 }),
        }
    }

    /// The length of a text with which another one begins; a template may end every text with an end-of-text token.
    fn n_leading(&self, text: &str, whole: &str) -> Option<usize> {
        let without = self.eos_token.as_deref().and_then(|eos| text.strip_suffix(eos));
        [Some(text), without].into_iter().flatten().find(|it| whole.starts_with(it)).map(str::len)
    }

    /// Where the opening of an assistant's turn begins in a text that ends with it.
    fn before_opening(&self, text: &str) -> Option<usize> {
        let mut openings = self.openings.iter().filter(|it| !it.is_empty());
        openings.find_map(|it| text.strip_suffix(it.as_str())).map(str::len)
    }

    /// Where the opening of a turn ends: as far as it is the generation prompt, else behind what opens a sample's, else where
    /// its message begins.
    fn opening(&self, before: &[Turn<'_>], whole: &str, turn: Range<usize>, place: Place) -> usize {
        let limit = place.first().unwrap_or(turn.end);
        let prompt = self.plain(before, true).map(|prompt| prompt.text).unwrap_or_default();
        let behind = n_same_tags(&prompt, whole).min(limit);
        if behind > turn.start {
            return behind;
        }
        let mut openings = self.openings.iter().filter(|it| !it.is_empty());
        let opens = |it: &&String| whole[turn.start..limit].starts_with(it.as_str());
        match openings.find(opens) {
            Some(opening) => turn.start + opening.len(),
            None => place.start.unwrap_or(turn.start),
        }
    }
}

/// How many bytes two texts have in common, in whole characters, at their beginning.
fn n_same(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}

/// As [`n_same`], without the beginning of a tag (`<|user|>`, `[INST]`) of which the rest is not the same.
fn n_same_tags(a: &str, b: &str) -> usize {
    let n = n_same(a, b);
    match (a[..n].rfind(['<', '[']), a[..n].rfind(['>', ']'])) {
        (Some(open), close) if close.is_none_or(|close| close < open) => open,
        _ => n,
    }
}

/// Runs of one role, by where they end.
fn spans(roles: &[Role]) -> Vec<(usize, Role)> {
    let runs = roles.chunk_by(|a, b| a == b);
    let ends = runs.scan(0, |end, run| {
        *end += run.len();
        Some((*end, run[0]))
    });
    ends.collect()
}
