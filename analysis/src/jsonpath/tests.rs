use proptest::prelude::*;
use serde_json::json;

use super::*;

fn store() -> Json {
    json!({
        "name": "store", "a.b": 1, "empty": [], "nothing": null,
        "book": [
            {"title": "one", "price": 8.95, "tags": ["x"], "isbn": "1"},
            {"title": "two", "price": 12, "tags": []},
            {"title": "three", "price": 22.99, "tags": ["y", "z"], "isbn": "3"}
        ],
        "labels": {"app.io/name": "web", "k": {"title": "deep"}}
    })
}

/// ANA-57
#[test]
fn finds() {
    for (path, want) in [
        ("{$}", Ok(store())),
        ("{.}", Ok(store())),
        ("{.name}", Ok(json!("store"))),
        ("{$.name}", Ok(json!("store"))),
        ("{ .name }", Ok(json!("store"))),
        ("{.book[0].title}", Ok(json!("one"))),
        ("{.book[-1].title}", Ok(json!("three"))),
        ("{.book[-1:].title}", Ok(json!("three"))),
        ("{.book[1:3:2].title}", Ok(json!("two"))),
        ("{.book[*].price}", Ok(json!(8.95))),
        ("{.book[0,2].title}", Ok(json!("one"))),
        ("{.book[2,0].title}", Ok(json!("three"))),
        ("{['name','book']}", Ok(json!("store"))),
        ("{['a.b']}", Ok(json!(1))),
        (r"{.a\.b}", Ok(json!(1))),
        (r"{.labels.app\.io/name}", Ok(json!("web"))),
        ("{.labels['app.io/name']}", Ok(json!("web"))),
        ("{..title}", Ok(json!("one"))),
        ("{.labels..title}", Ok(json!("deep"))),
        ("{.labels.*}", Ok(json!("web"))),
        ("{.book[?(@.price > 10)].title}", Ok(json!("two"))),
        ("{.book[?(@.price >= 12)].title}", Ok(json!("two"))),
        ("{.book[?(@.price < 10)].title}", Ok(json!("one"))),
        ("{.book[?(@.title == \"three\")].price}", Ok(json!(22.99))),
        ("{.book[?(@.title=='three')].price}", Ok(json!(22.99))),
        ("{.book[?(@.title != 'one')].title}", Ok(json!("two"))),
        ("{.book[?(@.isbn)].title}", Ok(json!("one"))),
        ("{.book[?(@.price == 12)].title}", Ok(json!("two"))),
        ("{range .book[*]}{.title}{end}", Ok(json!("one"))),
        ("{range .book[1:]}{.title} {end}", Ok(json!("two"))),
        ("{\"text\"}", Ok(json!("text"))),
        ("$.name", Ok(json!("$.name"))),
        ("pre {.name}", Ok(json!("pre "))),
        ("{.nothing}", Ok(Json::Null)),
        ("{.empty}", Ok(json!([]))),
        ("{.missing}", Err("missing is not found")),
        ("{.book.title}", Err("title is not found")),
        (
            "{.book[5]}",
            Err("array index out of bounds: index 5, length 3"),
        ),
        (
            "{.book[-4]}",
            Err("array index out of bounds: index -1, length 3"),
        ),
        (
            "{.book[0:9]}",
            Err("array index out of bounds: index 8, length 3"),
        ),
        (
            "{.book[2:1]}",
            Err("starting index 2 is greater than ending index 1"),
        ),
        ("{.book[0:2:0]}", Err("step must be > 0")),
        ("{.name[0]}", Err("string is not array or slice")),
        (
            "{.book[?(@.title > 1)]}",
            Err("incompatible types for comparison: string and float64"),
        ),
    ] {
        let got = Template::parse(path)
            .unwrap_or_else(|e| panic!("{path}: {e}"))
            .first(&store());
        assert_eq!(got, want.map(Some).map_err(str::to_owned), "{path}");
    }
    for path in [
        "{.empty[*]}",
        "{.empty[0:0]}",
        "{range .empty[*]}{.a}{end}",
        "",
        "{.book[?(@.x == 1)]}",
    ] {
        assert_eq!(
            Template::parse(path).unwrap().first(&store()),
            Ok(None),
            "{path}"
        );
    }
}

/// ANA-57
#[test]
fn refuses() {
    for path in [
        "{",
        "{.a",
        "{end}",
        "{range .a}",
        "{.a[}",
        "{.a[x]}",
        "{.a['x}",
        "{...a}",
        "{foo}",
        "{.a[?(@.x]}",
        "{.a[?@.x]}",
        "{.a[?(@.x ~ 1)]}",
        "{.a|b}",
        "{.a[1,]}",
    ] {
        assert!(Template::parse(path).is_err(), "{path}");
    }
    let deep = format!("{}{}", "{range .a}".repeat(1000), "{end}".repeat(1000));
    assert!(Template::parse(&deep).is_err());
    let chain = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let template = Template::parse("{..*..*..*..*..*..*..*}").unwrap();
    assert_eq!(template.first(&chain), Err("too many results".to_owned()));
}

const WORDS: &[&str] = &[
    "{", "}", "[", "]", "(", ")", ".", "..", "*", "$", "@", "?", "'a'", "\"b\"", "a", "book", "0",
    "-1", ":", ",", "==", "!=", "<", ">=", "range", "end", " ", "\\", "true", "1.5", "é",
];

proptest! {
    /// ANA-57: any text is read or refused.
    #[test]
    fn never_panics(words in prop::collection::vec(prop::sample::select(WORDS), 0..20), any in any::<String>()) {
        for text in [words.concat(), any] {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.find(&store());
            }
        }
    }
}
