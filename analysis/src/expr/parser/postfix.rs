//! What follows an operand: members, indexes, slices, method calls, `?.` (ANA-81).

use std::sync::Arc;

use super::super::ast::{Expr, Node};
use super::super::lexer::Tok;
use super::{Parsed, Parser, highest};

impl Parser {
    pub(super) fn postfix(&mut self, base: Node) -> Parsed {
        let start = base.pos;
        let mut base = base;
        let mut chained = false;
        loop {
            let pos = self.pos();
            if self.is(".") || self.is("?.") {
                let optional = self.is("?.");
                chained |= optional;
                self.next();
                base = if optional && self.is("[") {
                    self.index(base, pos, true)?
                } else {
                    self.member(base, pos, optional)?
                };
            } else if self.is("[") {
                // A plain index ends the reach of `?.` before it.
                if chained {
                    let height = base.height;
                    base = self.node(Expr::Chain(Box::new(base)), start, height)?;
                    chained = false;
                }
                base = self.index(base, pos, false)?;
            } else {
                break;
            }
        }
        if chained {
            let height = base.height;
            base = self.node(Expr::Chain(Box::new(base)), start, height)?;
        }
        Ok(base)
    }

    fn member(&mut self, base: Node, pos: u32, optional: bool) -> Parsed {
        let key_pos = self.pos();
        // Behind a dot any word is a name, operators included.
        let name: Arc<str> = match self.tok() {
            Tok::Word(word) => word.as_str().into(),
            Tok::Op(op) if op.starts_with(|c: char| c.is_ascii_alphabetic()) => (*op).into(),
            _ => return self.unexpected(),
        };
        self.next();
        if self.is("(") {
            let args = self.arguments(None)?;
            let height = base.height.max(highest(&args));
            let expr = Expr::Method {
                base: Box::new(base),
                name,
                args,
                optional,
            };
            return self.node(expr, pos, height);
        }
        let key = self.node(Expr::Text(name), key_pos, 0)?;
        let height = base.height.max(key.height);
        let expr = Expr::Member {
            base: Box::new(base),
            key: Box::new(key),
            optional,
        };
        self.node(expr, pos, height)
    }

    fn index(&mut self, base: Node, pos: u32, optional: bool) -> Parsed {
        self.expect("[")?;
        let from = if self.is(":") {
            None
        } else {
            Some(Box::new(self.expression(0)?))
        };
        if self.eat(":") {
            let to = if self.is("]") {
                None
            } else {
                Some(Box::new(self.expression(0)?))
            };
            self.expect("]")?;
            let height = [&from, &to]
                .into_iter()
                .flatten()
                .map(|n| n.height)
                .fold(base.height, u16::max);
            return self.node(
                Expr::Slice {
                    base: Box::new(base),
                    from,
                    to,
                },
                pos,
                height,
            );
        }
        self.expect("]")?;
        let Some(key) = from else {
            return self.unexpected();
        };
        let height = base.height.max(key.height);
        self.node(
            Expr::Member {
                base: Box::new(base),
                key,
                optional,
            },
            pos,
            height,
        )
    }
}
