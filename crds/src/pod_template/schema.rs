//! The table of `fields.txt`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A member of a message.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) presence: Presence,
    pub(super) kind: Kind,
}

/// When a member is written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Presence {
    /// Unless it is zero.
    UnlessZero,
    /// Unless it is absent.
    IfPresent,
    /// Always; absent plain values are written as this.
    Always(&'static str),
}

/// What a member holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Plain,
    Message(&'static str),
    Quantity,
    IntOrString,
    Time,
    /// List, with the message of its items.
    List(Option<&'static str>),
    /// Map, with what it maps to.
    Map(Option<&'static str>),
}

type Table = BTreeMap<&'static str, Vec<Field>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    include_str!("fields.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.map(field).collect()))
        })
        .collect()
});

fn field(word: &'static str) -> Field {
    let end = word.find(['?', '!', ':']).unwrap_or(word.len());
    let (name, rest) = word.split_at(end);
    let (flag, kind) = rest.split_once(':').unwrap_or((rest, ""));
    let presence = match flag {
        "?" => Presence::IfPresent,
        "!s" => Presence::Always("\"\""),
        "!i" => Presence::Always("0"),
        "!b" => Presence::Always("false"),
        "!" => Presence::Always("null"),
        _ => Presence::UnlessZero,
    };
    let inner = |open, close| {
        let inner: &'static str = kind.strip_prefix(open)?.strip_suffix(close)?;
        Some(Some(inner).filter(|name| !name.is_empty()))
    };
    let kind = if let Some(item) = inner('[', ']') {
        Kind::List(item)
    } else if let Some(item) = inner('{', '}') {
        Kind::Map(item)
    } else {
        match kind {
            "" => Kind::Plain,
            "quantity" => Kind::Quantity,
            "intorstring" => Kind::IntOrString,
            "time" => Kind::Time,
            message => Kind::Message(message),
        }
    };
    Field {
        name,
        presence,
        kind,
    }
}

/// Members of a message in declaration order; none for one that is not in the table.
pub(super) fn fields(message: &str) -> &'static [Field] {
    TABLE.get(message).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message that is referred to is there.
    #[test]
    fn table_is_closed() {
        for fields in TABLE.values() {
            for field in fields {
                let (Kind::Message(name) | Kind::List(Some(name)) | Kind::Map(Some(name))) =
                    field.kind
                else {
                    continue;
                };
                assert!(TABLE.contains_key(name) || name == "quantity", "{name}");
            }
        }
        assert_eq!(fields("Container").first().map(|f| f.name), Some("name"));
    }
}
