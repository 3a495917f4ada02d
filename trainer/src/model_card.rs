//! A run -> the `README.md` of its export: what it was trained from, on what, how, and how to talk to it.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::Value;
use shards::{Manifest, Role};
use text::{Conversation, Message};

use crate::chat::Chat;
use crate::config::Config;
use crate::llama_config::LlamaConfig;
use crate::metrics;
use crate::state::TrainState;

/// Licences and notices that travel from the base's folder to the export.
pub const NOTICES: [&str; 6] =
    ["LICENSE", "LICENSE.txt", "LICENSE.md", "USE_POLICY.md", "NOTICE", "NOTICE.txt"];

/// What the card tells.
#[derive(Debug)]
pub struct Card<'a> {
    /// The exported folder's name.
    pub name: &'a str,
    /// The run's folder.
    pub run: &'a Path,
    /// Its configuration.
    pub config: &'a Config,
    /// Where it stood.
    pub state: &'a TrainState,
    /// What describes its shards.
    pub manifest: Option<&'a Manifest>,
    /// The model's shape.
    pub model: &'a LlamaConfig,
    /// How many parameters it has.
    pub parameters: i64,
    /// Such as `bfloat16`.
    pub dtype: &'a str,
    /// How the model is spoken to, if that is known.
    pub chat: Option<&'a Chat>,
    /// Licences that lie in the export.
    pub notices: &'a [&'static str],
}

impl Card<'_> {
    /// The whole text.
    pub fn text(&self) -> Result<String> {
        let base = self.config.model.base.display();
        let mut card = String::new();
        // A licence is the base's: what this program cannot know, it does not claim.
        let licence = base_licence(&self.config.model.base).unwrap_or_else(|| "other".into());
        write!(
            card,
            "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: {licence}\n---\n\n# {}\n\n\
             A Llama with {:.1} M parameters in {}, fine-tuned from `{base}`: {} steps of {} documents, {} tokens read, \
             {} of them learned.\n\n",
            self.name,
            self.parameters as f64 / 1e6,
            self.dtype,
            self.state.step,
            self.config.batch.global,
            self.state.tokens,
            self.state.supervised,
        )?;
        if let Some(chat) = self.chat.filter(|chat| !chat.is_chatml()) {
            card += "## Prompt format\n\nThe chat template of this folder, on which the model was trained; `tokenizer.apply_chat_template` writes it:\n\n";
            let message = Message { role: Role::User, text: "{prompt}".into(), context: None };
            let prompt = chat.prompt(&Conversation { system: None, messages: vec![message] })?;
            write!(card, "```\n{}\n```\n\n", prompt.trim_end_matches('\n'))?;
        } else if self.chat.is_some() {
            card += "## Prompt format\n\nChatML; `tokenizer.apply_chat_template` writes it. An answer ends with `<|im_end|>`.\n\n\
                     ```\n<|im_start|>system\n{system message}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n\
                     <|im_start|>assistant\n```\n\n";
        }
        card += &self.metrics()?;
        card += &self.data()?;
        let config = serde_saphyr::to_string(self.config)?;
        write!(card, "## Training configuration\n\n```yaml\n{config}```\n\n")?;
        card += "## Licence\n\nThe weights derive from the base model's, whose licence applies to them; so may those of the data.\n";
        for notice in self.notices {
            writeln!(card, "- [{notice}]({notice})")?;
        }
        card += "\n`export_report.json` has the SHA-256 of every tensor and file, and how they were compared with the trained model.\n";
        Ok(card)
    }

    fn metrics(&self) -> Result<String> {
        let path = metrics::path(self.run);
        if !path.exists() {
            return Ok(String::new());
        }
        let text = fs::read_to_string(&path)?;
        let lines: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut table =
            String::from("## Metrics\n\n| step | what | loss | more |\n|---|---|---|---|\n");
        let step = |line: &Value| line["step"].as_u64().filter(|&step| step <= self.state.step);
        let of = |kind: &str| {
            let mut lines =
                lines.iter().rev().filter(|it| it["kind"] == kind && step(it).is_some());
            lines.next()
        };
        for (kind, extra) in [("train", "grad_norm"), ("validation", "accuracy")] {
            let Some(line) = of(kind) else { continue };
            writeln!(
                table,
                "| {} | {kind} | {} | {extra} {} |",
                line["step"], line["loss"], line[extra]
            )?;
        }
        Ok(table + "\n")
    }

    fn data(&self) -> Result<String> {
        let Some(manifest) = self.manifest else { return Ok(String::new()) };
        let mut data = String::from(
            "## Data\n\n| split | source | documents | tokens | assistant's |\n|---|---|---|---|---|\n",
        );
        for split in &manifest.splits {
            for source in &split.sources {
                writeln!(
                    data,
                    "| {} | {} | {} | {} | {} |",
                    split.name,
                    source.name,
                    source.documents,
                    source.tokens,
                    source.assistant_tokens
                )?;
            }
        }
        let datamix = serde_saphyr::to_string(&manifest.config)?;
        write!(data, "\nThe datamix, as it was built:\n\n```yaml\n{}```\n\n", ended(datamix))?;
        data += "| file | bytes | SHA-256 |\n|---|---|---|\n";
        let files = std::iter::once(&manifest.tokenizer.file).chain(&manifest.outputs);
        for file in files {
            writeln!(data, "| {} | {} | {} |", file.path, file.bytes, file.sha256)?;
        }
        Ok(data + "\n")
    }
}

fn ended(text: String) -> String {
    if text.ends_with('\n') { text } else { text + "\n" }
}

/// The licence that the base's own card names.
fn base_licence(base: &Path) -> Option<String> {
    let card = fs::read_to_string(base.join("README.md")).ok()?;
    let (head, _) = card.strip_prefix("---\n")?.split_once("\n---")?;
    let licence = head.lines().find_map(|line| line.strip_prefix("license:"))?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (!licence.is_empty() && licence.chars().all(plain)).then(|| licence.to_string())
}
