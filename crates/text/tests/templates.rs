//! Chat templates give the texts, the ids and the assistant's tokens that transformers gives; see `scripts/templates/expected.py`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use expect_test::expect;
use serde::Deserialize;
use shards::Role;
use text::{
    ChatTemplate, Conversation, Header, Message, Refusal, Template, TemplateFile, Tokenizer, Turn,
    chatml,
};

mod shared;

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(default)]
    template: String,
    /// A template that is written here.
    #[serde(default)]
    expression: String,
    /// What the user says to it.
    #[serde(default)]
    content: String,
    #[serde(default)]
    extra: Vec<String>,
    #[serde(default)]
    conversation: String,
    #[serde(default)]
    text: String,
    error: Option<String>,
    #[serde(default)]
    ids: Vec<u32>,
    /// Which tokens are the assistant's if its turns are, headers included.
    #[serde(default)]
    turn: String,
    /// Which are without the headers.
    #[serde(default)]
    body: String,
}

/// Which of the two the template itself marks as generated.
type Opening = Option<&'static str>;

fn template(name: &str, opening: Opening, header: Header) -> Template {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/templates/{name}.jinja"));
    let mut file = TemplateFile::read(&file, None).expect("the template is there");
    for name in ["turn", "body"] {
        let tag = if opening == Some(name) { "{% generation %}" } else { "" };
        file.source = file.source.replace(&format!("[[{name}]]"), tag);
    }
    let tag = if opening.is_some() { "{% endgeneration %}" } else { "" };
    file.source = file.source.replace("[[end]]", tag);
    let variables = [("bos_token", "<s>"), ("eos_token", "</s>"), ("date_string", "25 Aug 2023")];
    let variables: BTreeMap<_, _> =
        variables.map(|(name, value)| (name.to_string(), value.into())).into();
    let template = ChatTemplate::compile(&file, &variables, None, header);
    Template::Jinja(Box::new(template.expect("the template compiles")))
}

fn conversation(text: &str) -> Conversation {
    let mut conversation = Conversation::default();
    for message in text.split('¦') {
        match message.split_once(':').expect("a role and a text") {
            ("s", text) => conversation.system = Some(text.into()),
            ("u", text) => conversation.messages.push(Message::new(Role::User, text)),
            (_, text) => conversation.messages.push(Message::new(Role::Assistant, text)),
        }
    }
    conversation
}

fn turns(conversation: &Conversation) -> Vec<Turn<'_>> {
    chatml::turns(conversation).collect()
}

fn mask(roles: &[Role]) -> String {
    roles.iter().map(|role| if *role == Role::Assistant { '1' } else { '0' }).collect()
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("expected-templates.json")).expect("our own file is sound")
}

#[test]
fn texts_ids_and_masks_are_those_of_transformers() {
    let Some(json) = shared::path("tokenizers/codellama/tokenizer.json") else { return };
    let mut tokenizers: BTreeMap<Vec<String>, Tokenizer> = BTreeMap::new();
    let mut refused = String::new();
    let cases = cases();
    assert!(cases.len() > 150);
    for case in cases.iter().filter(|case| case.expression.is_empty()) {
        let tokenizer = tokenizers.entry(case.extra.clone()).or_insert_with_key(|extra| {
            Tokenizer::tokenizer_json(&json, extra).expect("the tokenizer is sound")
        });
        let conversation = conversation(&case.conversation);
        let variants = [
            (None, Header::Trained, &case.turn),
            (None, Header::Untrained, &case.body),
            (Some("turn"), Header::Trained, &case.turn),
            (Some("body"), Header::Trained, &case.body),
        ];
        for (opening, header, expected) in variants {
            let rendered = template(&case.template, opening, header).render(&turns(&conversation));
            let at = format!("{} {opening:?} {header:?} {:?}", case.template, case.conversation);
            let rendered = match (rendered, &case.error) {
                (Err(Refusal::Raised(error)), Some(expected)) => {
                    assert_eq!(error, *expected, "{at}");
                    continue;
                }
                // What this project does not take although transformers does.
                (Err(refusal), None) => {
                    if opening.is_none() && header == Header::Trained {
                        writeln!(refused, "{} {}: {refusal}", case.template, case.conversation)
                            .expect("a text can be written to");
                    }
                    continue;
                }
                (Ok(rendered), None) => rendered,
                (outcome, expected) => panic!("{at}: {outcome:?}, expected {expected:?}"),
            };
            assert_eq!(rendered.text, case.text, "{at}");
            assert_eq!(rendered.spans.last().map(|it| it.0), Some(case.text.len()), "{at}");
            let (mut ids, mut roles) = (Vec::new(), Vec::new());
            tokenizer.encoder().encode_rendered(&rendered, &mut ids, &mut roles);
            assert_eq!(ids, case.ids, "{at}");
            assert_eq!(mask(&roles), *expected, "{at}: {rendered:#?}");
        }
    }
    expect![[r#"
        mistral s:Be kind.¦u:What is 2 + 2?¦a:4¦u:And 3 + 3?¦a:Six.: the chat template leaves out the text of message 1, of the system
        mistral s:Answer: yes¦u:ASSISTANT: yes¦a:USER: yes¦u:yes¦a:yes: the chat template leaves out the text of message 1, of the system
    "#]].assert_eq(&refused);
}

#[test]
fn a_sentencepiece_model_gives_the_same_roles_and_ids() {
    let model = shared::path("tokenizers/codellama/tokenizer.model");
    let json = shared::path("tokenizers/codellama/tokenizer.json");
    let (Some(model), Some(json)) = (model, json) else { return };
    let mut n = 0;
    for case in cases().into_iter().filter(|it| it.expression.is_empty() && it.error.is_none()) {
        let json = Tokenizer::tokenizer_json(&json, &case.extra).expect("a sound tokenizer");
        let model = Tokenizer::sentencepiece(&model, &case.extra).expect("a sound tokenizer");
        let rendered = template(&case.template, None, Header::Trained);
        let Ok(rendered) = rendered.render(&turns(&conversation(&case.conversation))) else {
            continue;
        };
        let (mut ids, mut roles) = (Vec::new(), Vec::new());
        model.encoder().encode_rendered(&rendered, &mut ids, &mut roles);
        let (mut alone, mut n_special) = (Vec::new(), 0);
        model.encoder().encode(&rendered.text, &mut alone);
        assert_eq!(ids, alone);
        // The two number the extra tokens in their own ways.
        let as_json = |id: &u32| match model.id_to_piece(*id) {
            Some(piece) if *id >= 32016 => {
                n_special += 1;
                json.special_id(piece).expect("both have the extra tokens")
            }
            _ => *id,
        };
        assert_eq!(ids.iter().map(as_json).collect::<Vec<_>>(), case.ids);
        assert_eq!(n_special == 0, case.extra.is_empty());
        assert_eq!(mask(&roles), case.turn, "{} {}", case.template, case.conversation);
        n += 1;
    }
    assert!(n > 100);
}

#[test]
fn what_templates_use_of_jinja_and_python_is_the_same() {
    let cases: Vec<_> = cases().into_iter().filter(|it| !it.expression.is_empty()).collect();
    assert!(cases.len() > 10);
    for case in cases {
        let file = TemplateFile {
            file: "x.jinja".into(),
            source: case.expression.clone(),
            special_tokens: BTreeMap::new(),
        };
        let template = ChatTemplate::compile(&file, &BTreeMap::new(), None, Header::Trained);
        let template = Template::Jinja(Box::new(template.expect("the template compiles")));
        // A prompt is asked for since most of these leave the message out, which is no document.
        let found = template.prompt(&[(Role::User, &case.content)]);
        let expected = match case.error {
            Some(error) => Err(Refusal::Raised(error)),
            None => Ok(case.text),
        };
        assert_eq!(found, expected, "{}", case.expression);
    }
}

#[test]
fn a_system_message_inside_the_first_turn_has_its_own_role() {
    let llama2 = template("llama2", None, Header::Trained);
    let rendered = llama2.render(&turns(&conversation("s: Be kind.\n¦u:Hi¦a:Hello¦u:Bye¦a:")));
    let rendered = rendered.expect("the roles alternate");
    let mut start = 0;
    let parts = rendered.spans.iter().map(|(end, role)| {
        let part = &rendered.text[std::mem::replace(&mut start, *end)..*end];
        format!("{role} {part:?}\n")
    });
    expect![[r#"
        user "<s>[INST] <<SYS>>\n "
        system "Be kind."
        user "\n\n<</SYS>>\n\nHi [/INST]"
        assistant " Hello </s>"
        user "<s>[INST] Bye [/INST]"
        assistant "  </s>"
    "#]]
    .assert_eq(&parts.collect::<String>());
}

/// What a template that is written here makes of a prompt.
fn prompt(source: &str, turns: &[Turn<'_>]) -> Result<String, Refusal> {
    let file = TemplateFile {
        file: "x.jinja".into(),
        source: source.into(),
        special_tokens: BTreeMap::new(),
    };
    let template = ChatTemplate::compile(&file, &BTreeMap::new(), None, Header::Trained);
    Template::Jinja(Box::new(template.expect("the template compiles"))).prompt(turns)
}

#[test]
fn a_template_that_does_too_much_is_stopped() {
    let question = [(Role::User, "Hi")];
    for source in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% for i in range(99999) %}{{ messages | tojson | replace('e', 'eeeee') }}{% endfor %}",
    ] {
        let started = std::time::Instant::now();
        let refusal = prompt(source, &question).expect_err("it has too many steps");
        let expected = "the chat template fails: line 1: it takes more steps than a template should ever need\nhint: look for a loop in it that has no end, or far too many turns";
        assert_eq!(refusal.to_string(), expected);
        // A bound on work is none on time, but minutes would be a mistake on any machine.
        assert!(started.elapsed().as_secs() < 60, "{source}");
    }
}

#[test]
fn a_template_may_look_at_all_messages_for_each_and_copy_long_texts() {
    let each = "{% for m in messages %}{% for n in messages %}{% if n.role != m.role %}{% endif %}{% endfor %}{{ m.role ~ m.content }}\n{% endfor %}";
    let turns: Vec<Turn<'_>> =
        [(Role::User, "q"), (Role::Assistant, "a")].into_iter().cycle().take(400).collect();
    prompt(each, &turns).expect("so many messages are no mistake");
    let copies = "{% for m in messages %}{% for i in range(30) %}{% set copy = m.content ~ i %}{% endfor %}{{ m.role ~ m.content }}\n{% endfor %}";
    let long = "word ".repeat(1 << 19);
    prompt(copies, &[(Role::User, &long), (Role::Assistant, "a")]).expect("nor is a long one");
}

#[test]
fn the_day_is_named_by_the_user_and_never_todays() {
    let file = TemplateFile {
        file: "x.jinja".into(),
        source: "{{ strftime_now('%d %b %Y, %A') }}".into(),
        special_tokens: BTreeMap::new(),
    };
    let prompt = |date| {
        let template = ChatTemplate::compile(&file, &BTreeMap::new(), date, Header::Trained);
        let template = template.expect("the template compiles");
        Template::Jinja(Box::new(template)).prompt(&[])
    };
    // python3 -c "import datetime; print(datetime.date(2023, 8, 5).strftime('%d %b %Y, %A'))"
    let date = chrono::NaiveDate::from_ymd_opt(2023, 8, 5);
    assert_eq!(prompt(date).expect("it is a template"), "05 Aug 2023, Saturday");
    expect![[r#"
        the chat template fails: line 1: strftime_now is unknown
        hint: it asks for the day: name one with `chat_template_date: YYYY-MM-DD`"#]]
    .assert_eq(&prompt(None).expect_err("no date").to_string());
}

#[test]
fn a_template_is_found_where_transformers_looks_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("writable");
        shards::atomic::write(&path, text.as_bytes()).expect("writable");
        path
    };
    let read = |path: &Path, name| match TemplateFile::read(path, name) {
        Ok(file) => format!("{} {:?}", file.source, file.special_tokens),
        Err(error) => error.to_string().replace(&folder.path().display().to_string(), "FOLDER"),
    };
    let config = write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "default", "template": "A"}, {"name": "rag", "template": "B"}],
            "bos_token": {"content": "<s>"}, "eos_token": null, "add_bos_token": true}"#,
    );
    let found = r#"A {"bos_token": String("<s>")}"#;
    assert_eq!(read(folder.path(), None), found);
    assert_eq!(read(&config, None), found);
    assert_eq!(read(&config, Some("rag")), found.replace('A', "B"));
    expect![[r#"
        FOLDER/tokenizer_config.json: there is no chat template with the name `tool_use`
        hint: the names there are: `default`, `rag`"#]]
    .assert_eq(&read(folder.path(), Some("tool_use")));
    let mine = write("mine.jinja", "C");
    write("chat_template.jinja", "D");
    write("additional_chat_templates/tool_use.jinja", "E");
    assert_eq!(read(&mine, None), found.replace('A', "C"));
    assert_eq!(read(folder.path(), None), found.replace('A', "D"));
    assert_eq!(read(folder.path(), Some("tool_use")), found.replace('A', "E"));
    let broken = TemplateFile::read(&write("broken.jinja", "x\n{% if %}"), None);
    let broken = broken.expect("it can be read");
    let error = ChatTemplate::compile(&broken, &BTreeMap::new(), None, Header::Trained);
    let error = error.expect_err("it is no Jinja").to_string();
    assert!(
        error.contains("broken.jinja: the chat template cannot be compiled: line 2:"),
        "{error}"
    );
}
