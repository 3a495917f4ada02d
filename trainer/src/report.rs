//! A list of prompts -> what the model says to each, as JSON and as one HTML page to read.
//!
//! The JSON is that of Open-Assistant's sampling reports, with their three ways to sample (`noprefix2.json`): readers of
//! those read these.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, Progress, Unit, bail_input, print};
use fs_err as fs;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use serde_json::{Value, json};
use shards::{Role, atomic};
use text::{Conversation, Message};

use crate::metrics;
use crate::sample::Sampler;
use crate::warp::Warp;

/// What a report is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest answer, in tokens.
    pub max_new_tokens: usize,
    /// Answers of each way that draws; greedy gives one.
    pub num_samples: u64,
    /// Seeds the draws.
    pub seed: u64,
}

#[derive(Serialize)]
struct Report {
    model_name: String,
    date: String,
    args: Value,
    prompts: Vec<Answered>,
}

#[derive(Serialize)]
struct Answered {
    prompt: String,
    results: Vec<Sampled>,
}

#[derive(Serialize)]
struct Sampled {
    sampling_config: &'static str,
    sampling_params: Value,
    outputs: Vec<String>,
}

/// The ways to sample of `noprefix2.json`.
fn ways() -> [(&'static str, Warp); 3] {
    let all = Warp { repetition_penalty: 1.2, min_new_tokens: 1, ..Warp::default() };
    [
        ("nucleus9", Warp { temperature: 0.8, top_p: 0.9, ..all.clone() }),
        ("k50", Warp { temperature: 1.0, top_k: 50, top_p: 0.95, ..all.clone() }),
        ("greedy", all),
    ]
}

/// The keys of a way, as the reports have them.
fn params(warp: &Warp, max_new_tokens: usize) -> Value {
    let draws = warp.temperature > 0.0;
    let mut params = json!({
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": warp.min_new_tokens,
        "do_sample": draws,
        "temperature": if draws { warp.temperature } else { 1.0 },
        "repetition_penalty": warp.repetition_penalty,
    });
    if warp.top_k > 0 {
        params["top_k"] = json!(warp.top_k);
    }
    if warp.top_p < 1.0 {
        params["top_p"] = json!(warp.top_p);
    }
    if !draws {
        params["num_beams"] = json!(1);
    }
    params
}

/// Answers every prompt of a file, a JSON text a line, and writes `out` and the page beside it.
pub fn report(folder: &Path, prompts: &Path, out: &Path, options: &Options) -> Result<()> {
    cli::interrupt::listen()?;
    let page = out.with_extension("html");
    if page == out {
        bail_input!(
            "`--out` is `{}`, which the page to read would replace\nhint: name it `.json`",
            out.display()
        );
    }
    let text = fs::read_to_string(prompts).bad_input()?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<String> = lines
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}:{}: expected a JSON text", prompts.display(), i + 1))
        })
        .collect::<Result<_>>()
        .bad_input()?;
    if lines.is_empty() {
        bail_input!("`{}` has no prompts", prompts.display());
    }
    let sampler = Sampler::open(folder)?;
    let progress = Progress::new("answering", lines.len() as u64, Unit::Count("prompts"));
    let mut answered = Vec::with_capacity(lines.len());
    for prompt in lines {
        let message = Message { role: Role::User, text: prompt.clone(), context: None };
        let ids = sampler.prompt(&Conversation { system: None, messages: vec![message] })?;
        let mut results = Vec::new();
        for (sampling_config, warp) in ways() {
            let n = if warp.temperature > 0.0 { options.num_samples.max(1) } else { 1 };
            let streams: Vec<u64> = (0..n).collect();
            let copies = vec![ids.clone(); streams.len()];
            let most = options.max_new_tokens;
            let answers =
                sampler.generate(&copies, &warp, most, options.seed, &streams, |_, _| Ok(()))?;
            results.push(Sampled {
                sampling_config,
                sampling_params: params(&warp, most),
                outputs: answers.iter().map(|answer| sampler.with_end(answer)).collect(),
            });
        }
        answered.push(Answered { prompt, results });
        progress.inc(1);
    }
    progress.finish();

    let name = folder.display().to_string();
    let report = Report {
        date: metrics::date(metrics::now(), "%Y-%m-%dT%H:%M:%S"),
        args: json!({
            "model_name": name,
            "mode": sampler.mode(),
            "prompts": prompts.display().to_string(),
            "report": out.display().to_string(),
            "seed": options.seed,
            "num_samples": options.num_samples,
            "config": "noprefix2",
            "skip_special_tokens": false,
        }),
        model_name: name,
        prompts: answered,
    };
    atomic::write_json(out, &report)?;
    atomic::write(&page, html(&report)?.as_bytes())?;
    print::note(format!("{}, and to read: {}", out.display(), page.display()));
    Ok(())
}

fn html(report: &Report) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("report", include_str!("report.html"))?;
    let page = environment.get_template("report")?.render(context! { report => Serde(report) })?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_says_is_text_on_the_page_and_never_markup() {
        let outputs = vec!["<script>alert('&')</script>".to_string()];
        let results =
            vec![Sampled { sampling_config: "greedy", sampling_params: json!({"k": 1}), outputs }];
        let report = Report {
            model_name: "<b>".into(),
            date: String::new(),
            args: Value::Null,
            prompts: vec![Answered { prompt: "\"a\" < b".into(), results }],
        };
        let page = html(&report).unwrap();
        assert!(
            page.contains("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;&#x2f;script&gt;"),
            "{page}"
        );
        assert!(page.contains("greedy: k 1") && !page.contains("<b>"), "{page}");
    }
}
