//! Text to tokens (ANA-80).
//!
//! Positions are counted in characters, because error texts show columns to people.

use super::CompileError;

/// One token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) tok: Tok,
    /// Character offset in the source.
    pub(super) pos: u32,
}

/// What a token is. Words that are operators (`in`, `not` ...) are `Op`, as upstream: the parser
/// takes them back as names behind a dot.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tok {
    Int(i64),
    Float(f64),
    Text(String),
    Word(String),
    Op(&'static str),
    End,
}

/// Longest first: the lexer takes the first that fits.
const SYMBOLS: [&str; 34] = [
    "==", "!=", "<=", ">=", "&&", "||", "**", "..", "??", "?.", "::", "(", ")", "[", "]", "{", "}",
    ",", ";", ":", "?", ".", "+", "-", "*", "/", "%", "^", "<", ">", "!", "=", "|", "#",
];

const WORD_OPERATORS: [&str; 11] = [
    "in",
    "not",
    "and",
    "or",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
];

/// Splits `source`; the last token is always [`Tok::End`].
pub(super) fn lex(source: &str) -> Result<Vec<Token>, CompileError> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.tok == Tok::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn pos(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, CompileError> {
        Err(CompileError::new(message, self.pos()))
    }

    fn next(&mut self) -> Result<Token, CompileError> {
        self.skip_blanks()?;
        let pos = self.pos();
        let Some(c) = self.peek(0) else {
            return Ok(Token { tok: Tok::End, pos });
        };
        let digit_follows = self.peek(1).is_some_and(|d| d.is_ascii_digit());
        let tok = if c.is_ascii_digit() || (c == '.' && digit_follows) {
            self.number()?
        } else if c == '_' || c == '$' || c.is_alphabetic() {
            self.word()
        } else if c == '"' || c == '\'' {
            self.quoted(c)?
        } else if c == '`' {
            self.raw()?
        } else {
            self.symbol()?
        };
        Ok(Token { tok, pos })
    }

    fn skip_blanks(&mut self) -> Result<(), CompileError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if c.is_whitespace() => self.at += 1,
                (Some('/'), Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                (Some('/'), Some('*')) => {
                    self.at += 2;
                    while (self.peek(0), self.peek(1)) != (Some('*'), Some('/')) {
                        if self.peek(0).is_none() {
                            return self.error("unclosed comment");
                        }
                        self.at += 1;
                    }
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn word(&mut self) -> Tok {
        let mut word = String::new();
        while let Some(c) = self
            .peek(0)
            .filter(|&c| c == '_' || c == '$' || c.is_alphanumeric())
        {
            word.push(c);
            self.at += 1;
        }
        match WORD_OPERATORS.iter().find(|op| **op == word) {
            Some(op) => Tok::Op(op),
            None => Tok::Word(word),
        }
    }

    fn symbol(&mut self) -> Result<Tok, CompileError> {
        for symbol in SYMBOLS {
            if symbol
                .chars()
                .enumerate()
                .all(|(i, c)| self.peek(i) == Some(c))
            {
                self.at += symbol.len();
                return Ok(Tok::Op(symbol));
            }
        }
        match self.peek(0) {
            Some(c) => self.error(format!("unrecognized character: {c:?}")),
            None => self.error("unexpected end of expression"),
        }
    }

    fn digits(&mut self, radix: u32, into: &mut String) {
        while let Some(c) = self.peek(0).filter(|&c| c == '_' || c.is_digit(radix)) {
            if c != '_' {
                into.push(c);
            }
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Tok, CompileError> {
        let mut digits = String::new();
        let radix = match (self.peek(0), self.peek(1)) {
            (Some('0'), Some('x' | 'X')) => Some(16),
            (Some('0'), Some('o' | 'O')) => Some(8),
            (Some('0'), Some('b' | 'B')) => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            self.at += 2;
            self.digits(radix, &mut digits);
            self.number_ends()?;
            return match i64::from_str_radix(&digits, radix) {
                Ok(n) => Ok(Tok::Int(n)),
                Err(_) => self.error("invalid integer literal"),
            };
        }
        let mut float = false;
        self.digits(10, &mut digits);
        // `1..3` is a range, not the float `1.` followed by `.3`.
        if self.peek(0) == Some('.') && self.peek(1) != Some('.') {
            float = true;
            digits.push('.');
            self.at += 1;
            self.digits(10, &mut digits);
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            float = true;
            digits.push('e');
            self.at += 1;
            if let Some(sign @ ('+' | '-')) = self.peek(0) {
                digits.push(sign);
                self.at += 1;
            }
            self.digits(10, &mut digits);
        }
        self.number_ends()?;
        if float {
            match digits.parse::<f64>() {
                Ok(x) if x.is_finite() => Ok(Tok::Float(x)),
                _ => self.error(format!("invalid float literal: {digits}")),
            }
        } else {
            match digits.parse::<i64>() {
                Ok(n) => Ok(Tok::Int(n)),
                Err(_) => self.error(format!("invalid integer literal: {digits}")),
            }
        }
    }

    /// `10s` and `0xfg` are mistakes, not a number followed by a name.
    fn number_ends(&self) -> Result<(), CompileError> {
        match self.peek(0) {
            Some(c) if c == '_' || c.is_alphanumeric() => self.error("bad number syntax"),
            _ => Ok(()),
        }
    }

    fn raw(&mut self) -> Result<Tok, CompileError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek(0) {
                None => return self.error("literal not terminated"),
                // A doubled backtick stands for one.
                Some('`') if self.peek(1) == Some('`') => {
                    text.push('`');
                    self.at += 2;
                }
                Some('`') => {
                    self.at += 1;
                    return Ok(Tok::Text(text));
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Tok, CompileError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek(0) {
                None | Some('\n') => return self.error("literal not terminated"),
                Some('\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    text.push(c);
                }
                Some(c) => {
                    self.at += 1;
                    if c == quote {
                        return Ok(Tok::Text(text));
                    }
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, CompileError> {
        let Some(c) = self.peek(0) else {
            return self.error("literal not terminated");
        };
        self.at += 1;
        Ok(match c {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '\'' | '"' | '`' => c,
            'x' => self.code_point(16, 2)?,
            'u' => self.code_point(16, 4)?,
            'U' => self.code_point(16, 8)?,
            '0'..='3' => {
                self.at -= 1;
                self.code_point(8, 3)?
            }
            _ => return self.error(format!("unable to unescape string: \\{c}")),
        })
    }

    fn code_point(&mut self, radix: u32, len: usize) -> Result<char, CompileError> {
        let mut code = 0u32;
        for _ in 0..len {
            match self.peek(0).and_then(|c| c.to_digit(radix)) {
                Some(digit) => code = code.wrapping_mul(radix).wrapping_add(digit),
                None => return self.error("unable to unescape string: bad character code"),
            }
            self.at += 1;
        }
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.error("unable to unescape string: no such character"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toks(source: &str) -> Vec<Tok> {
        lex(source).unwrap().into_iter().map(|t| t.tok).collect()
    }

    /// ANA-80
    #[test]
    fn numbers() {
        for (source, want) in [
            ("42", Tok::Int(42)),
            ("1_000", Tok::Int(1000)),
            ("0x1F", Tok::Int(31)),
            ("0o17", Tok::Int(15)),
            ("0b101", Tok::Int(5)),
            (".5", Tok::Float(0.5)),
            ("1e-3", Tok::Float(0.001)),
            ("10.000000", Tok::Float(10.0)),
        ] {
            assert_eq!(toks(source), [want, Tok::End], "{source}");
        }
        assert_eq!(
            toks("1..3"),
            [Tok::Int(1), Tok::Op(".."), Tok::Int(3), Tok::End]
        );
        for bad in ["10s", "0x", "9223372036854775808", "1e999", "1e", "0xzz"] {
            assert!(lex(bad).is_err(), "{bad}");
        }
    }

    /// ANA-80
    #[test]
    fn texts() {
        for (source, want) in [
            (r"'it\'s'", "it's"),
            (r#""a\tb\u00e9\x41\101""#, "a\tbéAA"),
            ("`raw \\n`", "raw \\n"),
            ("'\"'", "\""),
        ] {
            assert_eq!(
                toks(source),
                [Tok::Text(want.to_owned()), Tok::End],
                "{source}"
            );
        }
        for bad in [
            "'open",
            "\"a\nb\"",
            "`open",
            r"'\q'",
            r"'\xZZ'",
            r"'\ud800'",
        ] {
            assert!(lex(bad).is_err(), "{bad}");
        }
    }

    /// ANA-80
    #[test]
    fn comments_and_words() {
        assert_eq!(
            toks("a /* b */ not in // c\n d"),
            [
                Tok::Word("a".into()),
                Tok::Op("not"),
                Tok::Op("in"),
                Tok::Word("d".into()),
                Tok::End
            ]
        );
        assert!(lex("/* open").is_err());
        assert!(lex("a @ b").is_err());
    }
}
