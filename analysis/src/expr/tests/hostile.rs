use super::*;

/// ANA-84: whatever comes in, an answer comes out, and soon.
#[test]
fn limits() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for source in [
        deep("(", ")", 100_000),
        deep("[", "]", 100_000),
        deep("{a:", "}", 100_000),
        deep("!", "", 100_000),
        deep("-", "", 100_000),
        deep("len(", ")", 100_000),
        deep("map(result,", ")", 100_000),
        deep("true ? 1 : ", "", 100_000),
        deep("let x = ", "; x", 100_000),
        deep("if true {", "} else {1}", 100_000),
        deep("2 ** ", "", 100_000),
        deep("1 < (1 < ", " < 1) < 1", 60),
        format!("1{}", " + 1".repeat(100_000)),
        format!("result{}", ".a".repeat(100_000)),
        format!("[{}]", "1,".repeat(100_000)),
        "1..100000000 == nil".to_owned(),
        "all(1..900000, len(1..900000) > 0)".to_owned(),
        "all(1..3000, {all(1..3000, {all(result, true)})})".to_owned(),
        "repeat(\"x\", 1000000000)".to_owned(),
        "reduce(1..1000, #acc + #acc, \"xxxxxxxxxx\")".to_owned(),
        "reduce(1..1000, [#acc, #acc], 1)".to_owned(),
        "toJSON(reduce(1..60, [#acc, #acc], 1))".to_owned(),
        "let x = reduce(1..60, [#acc, #acc], 1); x == x and string(x) == \"\"".to_owned(),
        "flatten(reduce(1..60, [#acc, #acc], 1))".to_owned(),
        "max(reduce(1..60, [#acc, #acc], 1))".to_owned(),
        "uniq(1..100000)".to_owned(),
        "any(1..100000, \"a\" matches (\"a{1,500}\" + string(#)))".to_owned(),
        "\"a\" matches \"((a{1,100}){1,100}){1,100}\"".to_owned(),
        "replace(repeat(\"a\", 100000), \"\", repeat(\"b\", 100000))".to_owned(),
    ] {
        let shown: String = source.chars().take(60).collect();
        let (got, text) = outcome("[1]", &source);
        assert!(matches!(got, 'C' | 'E'), "{shown}: {got} {text}");
    }
}

/// ANA-84: the deepest that is allowed runs on the stack of an ordinary thread.
#[test]
fn deepest_allowed_runs() {
    let n = usize::from(MAX_DEPTH) - 8;
    for (open, core, close) in [
        ("(", "true", ")"),
        ("all(result, {", "true", "})"),
        ("(true and ", "true", ")"),
        ("not ", "true", ""),
        ("if true {", "true", "} else {true}"),
        ("default(nil, ", "true", ")"),
        ("true ? ", "true", " : false"),
        ("any([", "true", "], #)"),
    ] {
        for n in [n / 3, n / 2, n] {
            let source = format!("{}{core}{}", open.repeat(n), close.repeat(n));
            let (got, text) = outcome("[1]", &source);
            assert!(
                got == 'T' || (got == 'F' && open == "not ") || text.contains("nests deeper"),
                "{open} x {n}: {got} {text}"
            );
        }
    }
}

const WORDS: &[&str] = &[
    "result",
    "nil",
    "true",
    "false",
    "1",
    "0",
    "2.5",
    "1e300",
    "-",
    "+",
    "*",
    "/",
    "%",
    "**",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "and",
    "or",
    "not",
    "!",
    "in",
    "contains",
    "matches",
    "startsWith",
    "endsWith",
    "??",
    "?.",
    "?",
    ":",
    ".",
    "..",
    ",",
    ";",
    "|",
    "#",
    "#acc",
    "#index",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"a\"",
    "'('",
    "`x`",
    "let",
    "x",
    "=",
    "if",
    "else",
    "all(",
    "any(",
    "filter(",
    "map(",
    "reduce(",
    "sortBy(",
    "groupBy(",
    "sum(",
    "count(",
    "len(",
    "max(",
    "mean(",
    "now()",
    "duration(\"1h\")",
    "date(\"2026-01-02\")",
    ".Unix()",
    ".Add(",
    "split(",
    "join(",
    "sort(",
    "keys(",
    "toJSON(",
    "fromJSON(",
    "string(",
    "int(",
    "float(",
    "asInt(",
    "isNaN(",
    "default(",
    "take(",
    "flatten(",
    "repeat(",
    "$env",
    "9223372036854775807",
    "bitshl(",
    "abs(",
    "get(",
    "1..5",
    ".a",
    "[0]",
    "[-1:]",
    "/*",
    "//",
    "\\",
    "é",
];

fn any_result() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "nil",
        "N[]",
        "N[0.5,2]",
        "F:NaN",
        "F:3",
        "true",
        "\"text\"",
        "[1,\"a\",null]",
        "{\"a\":{\"b\":[1,2]},\"c\":null}",
        "CW:[{\"Id\":\"a\",\"Values\":[0.1]}]",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// ANA-84: token soups end in an answer, never in a panic.
    #[test]
    fn token_soup(spec in any_result(), words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
        outcome(spec, &words.join(" "));
        outcome(spec, &words.concat());
    }

    /// ANA-84: so do any characters at all.
    #[test]
    fn any_text(spec in any_result(), source in any::<String>()) {
        outcome(spec, &source);
    }

    /// ANA-83: what passed the kind pass with a known bool yields one.
    #[test]
    fn kinds_hold(spec in any_result(), words in prop::collection::vec(prop::sample::select(WORDS), 1..8)) {
        let result = result(spec);
        if let Ok(program) = Program::compile(&words.join(" "), &Names::condition(Kind::of(&result)))
            && let Ok(value) = program.eval(&Env { result, now: jiff::Timestamp::UNIX_EPOCH })
        {
            match program.kind() {
                Kind::Bool => prop_assert!(matches!(value, Value::Bool(_))),
                Kind::Int => prop_assert!(matches!(value, Value::Int(_) | Value::Nil)),
                Kind::Text => prop_assert!(matches!(value, Value::Text(_) | Value::Nil)),
                _ => {}
            }
        }
    }
}
