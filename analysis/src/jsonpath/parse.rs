//! Text to [`Template`](super::Template).

use serde_json::Value as Json;

use super::{Block, Comparison, Filter, Slice, Step};

/// How deep ranges and filters may nest.
const MAX_DEPTH: usize = 32;

/// Reads a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Block>, String> {
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        depth: 0,
    };
    let blocks = parser.blocks(false)?;
    Ok(blocks)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

/// What an action in braces is.
enum Action {
    Path(Vec<Step>),
    Text(String),
    Range(Vec<Step>),
    End,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, n: usize) -> Option<char> {
        self.chars.get(self.at + n).copied()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += 1;
        }
        found
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn blocks(&mut self, in_range: bool) -> Result<Vec<Block>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("template nests too deep".to_owned());
        }
        let mut blocks = Vec::new();
        let mut text = String::new();
        loop {
            match self.peek() {
                None if in_range => return Err("not in range, nothing to end".to_owned()),
                None => break,
                Some('{') => {
                    if !text.is_empty() {
                        blocks.push(Block::Text(std::mem::take(&mut text)));
                    }
                    self.at += 1;
                    match self.action()? {
                        Action::Path(steps) => blocks.push(Block::Path(steps)),
                        Action::Text(text) => blocks.push(Block::Text(text)),
                        Action::Range(over) => {
                            let body = self.blocks(true)?;
                            blocks.push(Block::Range { over, body });
                        }
                        Action::End if in_range => {
                            self.depth -= 1;
                            return Ok(blocks);
                        }
                        Action::End => return Err("not in range, nothing to end".to_owned()),
                    }
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        if !text.is_empty() {
            blocks.push(Block::Text(text));
        }
        self.depth -= 1;
        Ok(blocks)
    }

    /// Behind `{`, up to and including `}`.
    fn action(&mut self) -> Result<Action, String> {
        self.blanks();
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            let text = self.quoted(quote)?;
            self.close_action()?;
            return Ok(Action::Text(text));
        }
        if self.peek().is_some_and(|c| c.is_alphabetic()) {
            let word = self.word();
            let action = match word.as_str() {
                "range" => Action::Range(self.path("}")?),
                "end" => Action::End,
                _ => return Err(format!("unrecognized identifier {word}")),
            };
            self.close_action()?;
            return Ok(action);
        }
        let steps = self.path("}")?;
        self.close_action()?;
        Ok(Action::Path(steps))
    }

    fn close_action(&mut self) -> Result<(), String> {
        self.blanks();
        if self.eat('}') {
            Ok(())
        } else {
            Err("unclosed action".to_owned())
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
            self.at += 1;
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some('n') => text.push('\n'),
                        Some('t') => text.push('\t'),
                        Some('r') => text.push('\r'),
                        Some(c) => text.push(c),
                        None => return Err("unterminated quoted string".to_owned()),
                    }
                    self.at += 1;
                }
                Some(c) => {
                    self.at += 1;
                    if c == quote {
                        return Ok(text);
                    }
                    text.push(c);
                }
            }
        }
    }

    /// Steps up to one of `ends`, which is left.
    fn path(&mut self, ends: &str) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None => return Err("unclosed action".to_owned()),
                Some(c) if ends.contains(c) => return Ok(steps),
                Some('$' | '@') => self.at += 1,
                Some('.') if self.ahead(1) == Some('.') => {
                    self.at += 2;
                    if self.peek() == Some('.') {
                        return Err("invalid multiple recursive descent".to_owned());
                    }
                    steps.push(Step::Descendants);
                    if self.peek().is_some_and(|c| c != '[' && !ends.contains(c)) {
                        steps.extend(self.field()?);
                    }
                }
                Some('.') => {
                    self.at += 1;
                    steps.extend(self.field()?);
                }
                Some('*') => {
                    self.at += 1;
                    steps.push(Step::Wildcard);
                }
                Some('[') => {
                    self.at += 1;
                    steps.push(self.bracket()?);
                }
                Some(quote @ ('"' | '\'')) => {
                    steps.push(Step::Literal(Json::String(self.quoted(quote)?)));
                }
                Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => {
                    steps.push(Step::Literal(self.number()?));
                }
                Some(c) if c.is_alphabetic() => {
                    let word = self.word();
                    steps.push(match word.as_str() {
                        "true" => Step::Literal(Json::Bool(true)),
                        "false" => Step::Literal(Json::Bool(false)),
                        _ => return Err(format!("unrecognized identifier {word}")),
                    });
                }
                Some(c) => return Err(format!("unrecognized character in action: {c:?}")),
            }
        }
    }

    /// A name behind a dot; none for the dot that means the current value.
    fn field(&mut self) -> Result<Option<Step>, String> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    let Some(escaped) = self.peek() else {
                        return Err("unclosed action".to_owned());
                    };
                    name.push(escaped);
                }
                '.' | '[' | ']' | '{' | '}' | ' ' | '\t' | '\n' | ')' | '(' | '=' | '!' | '<'
                | '>' | ',' | '|' => break,
                _ => name.push(c),
            }
            self.at += 1;
        }
        Ok(match name.as_str() {
            "" => None,
            "*" => Some(Step::Wildcard),
            _ => Some(Step::Field(name)),
        })
    }

    fn number(&mut self) -> Result<Json, String> {
        let mut text = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c))
        {
            text.push(c);
            self.at += 1;
        }
        let number = text
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64);
        number
            .map(Json::Number)
            .ok_or_else(|| format!("cannot parse number {text}"))
    }

    /// Behind `[`, up to and including `]`.
    fn bracket(&mut self) -> Result<Step, String> {
        self.blanks();
        if self.peek() == Some('?') {
            self.at += 1;
            return self.filter();
        }
        let mut steps = vec![self.selector()?];
        loop {
            self.blanks();
            if self.eat(',') {
                steps.push(self.selector()?);
            } else if self.eat(']') {
                break;
            } else {
                return Err("unterminated array".to_owned());
            }
        }
        match steps.pop() {
            Some(step) if steps.is_empty() => Ok(step),
            Some(step) => {
                steps.push(step);
                Ok(Step::Union(steps))
            }
            None => Err("invalid array index".to_owned()),
        }
    }

    fn selector(&mut self) -> Result<Step, String> {
        self.blanks();
        match self.peek() {
            Some('*') => {
                self.at += 1;
                Ok(Step::Wildcard)
            }
            Some(quote @ ('"' | '\'')) => Ok(Step::Field(self.quoted(quote)?)),
            _ => {
                let mut bounds = [None; 3];
                let mut colons = 0;
                for bound in &mut bounds {
                    self.blanks();
                    *bound = self.index()?;
                    self.blanks();
                    if colons < 2 && self.eat(':') {
                        colons += 1;
                    } else {
                        break;
                    }
                }
                let [from, to, step] = bounds;
                if colons == 0 && from.is_none() {
                    return Err("invalid array index".to_owned());
                }
                Ok(Step::Slice(Slice {
                    from,
                    to,
                    step,
                    single: colons == 0,
                }))
            }
        }
    }

    fn index(&mut self) -> Result<Option<i64>, String> {
        let mut text = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_digit() || *c == '-' || *c == '+')
        {
            text.push(c);
            self.at += 1;
        }
        match text.as_str() {
            "" => Ok(None),
            _ => text
                .parse()
                .map(Some)
                .map_err(|_| format!("invalid array index {text}")),
        }
    }

    /// Behind `[?`, up to and including `]`.
    fn filter(&mut self) -> Result<Step, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("template nests too deep".to_owned());
        }
        self.blanks();
        if !self.eat('(') {
            return Err("unterminated filter".to_owned());
        }
        let left = self.path(")=!<>")?;
        let comparison = match (self.peek(), self.ahead(1)) {
            (Some(')'), _) => None,
            (Some('='), Some('=')) => Some((Comparison::Equal, 2)),
            (Some('!'), Some('=')) => Some((Comparison::NotEqual, 2)),
            (Some('<'), Some('=')) => Some((Comparison::LessEqual, 2)),
            (Some('>'), Some('=')) => Some((Comparison::GreaterEqual, 2)),
            (Some('<'), _) => Some((Comparison::Less, 1)),
            (Some('>'), _) => Some((Comparison::Greater, 1)),
            _ => return Err("unrecognized filter operator".to_owned()),
        };
        let test = match comparison {
            None => None,
            Some((comparison, len)) => {
                self.at += len;
                Some((comparison, self.path(")")?))
            }
        };
        self.at += 1;
        self.blanks();
        if !self.eat(']') {
            return Err("unterminated filter".to_owned());
        }
        self.depth -= 1;
        Ok(Step::Filter(Filter { left, test }))
    }
}
