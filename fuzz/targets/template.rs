//! Any text as a chat template: compiled or refused, and what it makes of conversations is covered by roles.
//!
//! What stands behind a zero byte are the turns of one more conversation.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use shards::Role;
use text::{ChatTemplate, Header, Template, TemplateFile, Turn};

const ROLES: [Role; 5] = [Role::System, Role::User, Role::Assistant, Role::User, Role::Context];

fuzz_target!(|input: &str| {
    let mut parts = input.split('\0');
    let source = parts.next().unwrap_or_default().to_owned();
    let own: Vec<Turn<'_>> = ROLES.into_iter().cycle().zip(parts.take(12)).collect();
    let file = TemplateFile {
        file: "fuzz.jinja".into(),
        source,
        special_tokens: BTreeMap::from([
            ("bos_token".into(), "<s>".into()),
            ("eos_token".into(), "</s>".into()),
        ]),
    };
    for header in [Header::Trained, Header::Untrained] {
        let Ok(template) = ChatTemplate::compile(&file, &BTreeMap::new(), None, header) else {
            return;
        };
        let template = Template::Jinja(Box::new(template));
        let two = [(Role::User, "é\n"), (Role::Assistant, " é")];
        let four = [(Role::System, "x"), two[0], two[1], (Role::User, "")];
        for turns in [&two[..], &four[..], &own[..]] {
            let _ = template.prompt(turns);
            let Ok(rendered) = template.render(turns) else { continue };
            let mut start = 0;
            for (end, _) in rendered.spans {
                assert!(start < end && rendered.text.is_char_boundary(end));
                start = end;
            }
            assert_eq!(start, rendered.text.len());
        }
    }
});
