//! Tokens to tree (ANA-80..82): precedence climbing, with the limits of ANA-84 built in. A tree
//! that comes out of here is small and flat enough for every later walk.

use std::sync::Arc;

use super::ast::{BinaryOp, Expr, Node, Pointer, UnaryOp};
use super::builtins::{self, Fold};
use super::lexer::{Tok, Token, lex};
use super::{CompileError, MAX_DEPTH, MAX_NODES, Scope, re2};

mod postfix;

/// Parses a whole condition.
pub(super) fn parse(source: &str, scope: Scope) -> Result<Node, CompileError> {
    let mut parser = Parser {
        tokens: lex(source)?,
        at: 0,
        nodes: 0,
        depth: 0,
        predicates: 0,
        scope,
    };
    let node = parser.sequence()?;
    match parser.tok() {
        Tok::End => Ok(node),
        _ => parser.unexpected(),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nodes: usize,
    /// Open calls of [`Parser::expression`].
    depth: u16,
    /// Open predicates: inside one, `#` and a leading `.` mean its element.
    predicates: u16,
    scope: Scope,
}

type Parsed = Result<Node, CompileError>;

impl Parser {
    fn tok(&self) -> &Tok {
        self.tokens.get(self.at).map_or(&Tok::End, |t| &t.tok)
    }

    fn ahead(&self, n: usize) -> &Tok {
        self.tokens.get(self.at + n).map_or(&Tok::End, |t| &t.tok)
    }

    fn pos(&self) -> u32 {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(0, |t| t.pos)
    }

    fn next(&mut self) {
        self.at += 1;
    }

    fn is(&self, op: &str) -> bool {
        matches!(self.tok(), Tok::Op(o) if *o == op)
    }

    fn eat(&mut self, op: &str) -> bool {
        let found = self.is(op);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, op: &'static str) -> Result<(), CompileError> {
        if self.eat(op) {
            Ok(())
        } else {
            self.unexpected()
        }
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, CompileError> {
        Err(CompileError::new(message, self.pos()))
    }

    fn unexpected<T>(&self) -> Result<T, CompileError> {
        let shown = match self.tok() {
            Tok::End => return self.error("unexpected end of expression"),
            Tok::Int(n) => n.to_string(),
            Tok::Float(x) => x.to_string(),
            Tok::Text(t) => format!("{t:?}"),
            Tok::Word(w) => w.clone(),
            Tok::Op(op) => (*op).to_owned(),
        };
        self.error(format!("unexpected token {shown}"))
    }

    /// Makes a node; `children` is the height of the highest one.
    fn node(&mut self, expr: Expr, pos: u32, children: u16) -> Parsed {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(CompileError::new(
                "compilation failed: expression exceeds maximum allowed nodes",
                pos,
            ));
        }
        if children >= MAX_DEPTH {
            return Err(CompileError::new(
                format!("compilation failed: expression nests deeper than {MAX_DEPTH}"),
                pos,
            ));
        }
        Ok(Node {
            expr,
            pos,
            height: children + 1,
        })
    }

    /// `a; b; c`, the last one is the value; a final `;` is allowed.
    fn sequence(&mut self) -> Parsed {
        let pos = self.pos();
        let first = self.expression(0)?;
        if !self.is(";") {
            return Ok(first);
        }
        let mut nodes = vec![first];
        while self.eat(";") {
            if matches!(self.tok(), Tok::End) || self.is(")") || self.is("}") {
                break;
            }
            nodes.push(self.expression(0)?);
        }
        let height = highest(&nodes);
        self.node(Expr::Sequence(nodes), pos, height)
    }

    /// An expression whose binary operators bind at least as tightly as `min`.
    fn expression(&mut self, min: u16) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!(
                "compilation failed: expression nests deeper than {MAX_DEPTH}"
            ));
        }
        let node = match self.tok() {
            Tok::Op("let") if min == 0 => self.declaration(),
            Tok::Op("if") if min == 0 => self.if_else(),
            _ => self.operators(min),
        };
        self.depth -= 1;
        node
    }

    fn operators(&mut self, min: u16) -> Parsed {
        let mut left = self.prefix()?;
        let mut after_coalesce = false;
        loop {
            let pos = self.pos();
            if min == 0 && self.is("|") {
                self.next();
                left = self.pipe(left)?;
                after_coalesce = false;
                continue;
            }
            let negated = self.is("not");
            let word = match if negated { self.ahead(1) } else { self.tok() } {
                Tok::Op(op) => *op,
                _ if negated => return self.unexpected(),
                _ => break,
            };
            let Some((op, precedence, right_first)) = BinaryOp::of(word) else {
                if negated {
                    return self.unexpected();
                }
                break;
            };
            if negated && !op.negatable() {
                return self.unexpected();
            }
            if precedence < min {
                break;
            }
            if after_coalesce && op != BinaryOp::Coalesce {
                return self.error(format!(
                    "Operator (??) and coalesce expressions ({word}) cannot be mixed. Wrap either by parentheses."
                ));
            }
            self.at += if negated { 2 } else { 1 };
            left = if op.chains() {
                self.comparisons(left, op, pos, precedence)?
            } else {
                let right = self.expression(precedence + u16::from(!right_first))?;
                self.binary(op, left, right, pos)?
            };
            if negated {
                let height = left.height;
                left = self.node(Expr::Unary(UnaryOp::Not, Box::new(left)), pos, height)?;
            }
            after_coalesce = op == BinaryOp::Coalesce;
        }
        if min == 0 {
            self.conditional(left)
        } else {
            Ok(left)
        }
    }

    fn binary(&mut self, op: BinaryOp, left: Node, right: Node, pos: u32) -> Parsed {
        let height = left.height.max(right.height);
        let expr = match (op, &right.expr) {
            (BinaryOp::Matches, Expr::Text(pattern)) => {
                let regex = re2::compile(pattern).map_err(|e| CompileError::new(e, right.pos))?;
                Expr::Matches(Box::new(left), Box::new(regex))
            }
            _ => Expr::Binary(op, Box::new(left), Box::new(right)),
        };
        self.node(expr, pos, height)
    }

    /// `a < b <= c` means `a < b && b <= c`; `b` is parsed once and evaluated twice, so its text
    /// is parsed again for the second use.
    fn comparisons(&mut self, left: Node, op: BinaryOp, pos: u32, precedence: u16) -> Parsed {
        let (mut left, mut op, mut pos) = (left, op, pos);
        let mut all: Option<Node> = None;
        loop {
            let start = self.at;
            let right = self.expression(precedence + 1)?;
            let end = self.at;
            let test = self.binary(op, left, right, pos)?;
            all = Some(match all {
                None => test,
                Some(before) => self.binary(BinaryOp::And, before, test, pos)?,
            });
            let following = match self.tok() {
                Tok::Op(op) => BinaryOp::of(op)
                    .map(|(op, _, _)| op)
                    .filter(|op| op.chains()),
                _ => None,
            };
            match (following, all.take()) {
                (Some(following), before) => {
                    all = before;
                    self.at = start;
                    left = self.expression(precedence + 1)?;
                    self.at = end;
                    pos = self.pos();
                    op = following;
                    self.next();
                }
                (None, Some(node)) => return Ok(node),
                (None, None) => return self.unexpected(),
            }
        }
    }

    fn conditional(&mut self, test: Node) -> Parsed {
        let mut test = test;
        while self.is("?") {
            let pos = self.pos();
            self.next();
            let (yes, no) = if self.eat(":") {
                // `c ?: b` is `c ? c : b`: a condition that is true.
                let yes = self.node(Expr::Bool(true), test.pos, 0)?;
                (yes, self.expression(0)?)
            } else {
                let yes = self.expression(0)?;
                self.expect(":")?;
                (yes, self.expression(0)?)
            };
            let height = test.height.max(yes.height).max(no.height);
            let expr = Expr::Conditional(Box::new(test), Box::new(yes), Box::new(no));
            test = self.node(expr, pos, height)?;
        }
        Ok(test)
    }

    fn if_else(&mut self) -> Parsed {
        let pos = self.pos();
        self.next();
        let test = self.expression(0)?;
        self.expect("{")?;
        let yes = self.sequence()?;
        self.expect("}")?;
        self.expect("else")?;
        let no = if self.is("if") {
            self.expression(0)?
        } else {
            self.expect("{")?;
            let no = self.sequence()?;
            self.expect("}")?;
            no
        };
        let height = test.height.max(yes.height).max(no.height);
        self.node(
            Expr::Conditional(Box::new(test), Box::new(yes), Box::new(no)),
            pos,
            height,
        )
    }

    fn declaration(&mut self) -> Parsed {
        let pos = self.pos();
        self.next();
        let Tok::Word(name) = self.tok() else {
            return self.unexpected();
        };
        let name: Arc<str> = name.as_str().into();
        self.next();
        self.expect("=")?;
        let value = self.expression(0)?;
        self.expect(";")?;
        let body = self.sequence()?;
        let height = value.height.max(body.height);
        self.node(
            Expr::Let(name, Box::new(value), Box::new(body)),
            pos,
            height,
        )
    }

    /// `x | f(a)` is `f(x, a)`.
    fn pipe(&mut self, left: Node) -> Parsed {
        let pos = self.pos();
        let Tok::Word(name) = self.tok() else {
            return self.unexpected();
        };
        let name = name.clone();
        self.next();
        let call = self.call(&name, pos, Some(left))?;
        self.postfix(call)
    }

    fn prefix(&mut self) -> Parsed {
        let pos = self.pos();
        match self.tok() {
            Tok::Op(word) if UnaryOp::of(word).is_some() => {
                let Some((op, precedence)) = UnaryOp::of(word) else {
                    return self.unexpected();
                };
                self.next();
                let operand = self.expression(precedence)?;
                let height = operand.height;
                let node = self.node(Expr::Unary(op, Box::new(operand)), pos, height)?;
                self.postfix(node)
            }
            Tok::Op("(") => {
                self.next();
                let inner = self.sequence()?;
                self.expect(")")?;
                self.postfix(inner)
            }
            Tok::Op("#") if self.predicates > 0 => {
                self.next();
                let pointer = match self.tok() {
                    Tok::Word(word) => match word.as_str() {
                        "acc" => Pointer::Acc,
                        "index" => Pointer::Index,
                        _ => return self.error(format!("unknown pointer #{word}")),
                    },
                    _ => Pointer::Element,
                };
                if pointer != Pointer::Element {
                    self.next();
                }
                let node = self.node(Expr::Pointer(pointer), pos, 0)?;
                self.postfix(node)
            }
            // `.f` is `#.f`: the dot is left for the postfix part.
            Tok::Op("." | "?.") if self.predicates > 0 => {
                let node = self.node(Expr::Pointer(Pointer::Element), pos, 0)?;
                self.postfix(node)
            }
            _ => self.operand(),
        }
    }

    fn operand(&mut self) -> Parsed {
        let pos = self.pos();
        match self.tok().clone() {
            Tok::Int(n) => {
                self.next();
                self.node(Expr::Int(n), pos, 0)
            }
            Tok::Float(x) => {
                self.next();
                self.node(Expr::Float(x), pos, 0)
            }
            Tok::Text(text) => {
                self.next();
                let node = self.node(Expr::Text(text.into()), pos, 0)?;
                self.postfix(node)
            }
            Tok::Word(word) => {
                self.next();
                let node = match word.as_str() {
                    "true" => return self.node(Expr::Bool(true), pos, 0),
                    "false" => return self.node(Expr::Bool(false), pos, 0),
                    "nil" => return self.node(Expr::Nil, pos, 0),
                    _ if self.is("(") => self.call(&word, pos, None)?,
                    "$env" => self.node(Expr::Env, pos, 0)?,
                    _ => self.node(Expr::Name(word.into()), pos, 0)?,
                };
                self.postfix(node)
            }
            Tok::Op("::") => {
                self.next();
                let Tok::Word(word) = self.tok().clone() else {
                    return self.unexpected();
                };
                self.next();
                let node = self.call(&word, pos, None)?;
                self.postfix(node)
            }
            Tok::Op("[") => {
                let node = self.array()?;
                self.postfix(node)
            }
            Tok::Op("{") => {
                let node = self.map()?;
                self.postfix(node)
            }
            _ => self.unexpected(),
        }
    }

    fn array(&mut self) -> Parsed {
        let pos = self.pos();
        self.next();
        let mut items = Vec::new();
        while !self.is("]") {
            items.push(self.expression(0)?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        let height = highest(&items);
        self.node(Expr::Array(items), pos, height)
    }

    fn map(&mut self) -> Parsed {
        let pos = self.pos();
        self.next();
        let mut entries = Vec::new();
        let mut height = 0;
        while !self.is("}") {
            let key_pos = self.pos();
            let key = match self.tok().clone() {
                Tok::Word(text) | Tok::Text(text) => {
                    self.next();
                    self.node(Expr::Text(text.into()), key_pos, 0)?
                }
                Tok::Int(n) => {
                    self.next();
                    self.node(Expr::Text(n.to_string().into()), key_pos, 0)?
                }
                Tok::Float(x) => {
                    self.next();
                    self.node(Expr::Text(crate::numbers::v(x).into()), key_pos, 0)?
                }
                Tok::Op("(") => self.expression(0)?,
                _ => return self.error(
                    "a map key must be a quoted string, a number, a identifier, or an expression enclosed in parentheses",
                ),
            };
            self.expect(":")?;
            let value = self.expression(0)?;
            height = height.max(key.height).max(value.height);
            entries.push((key, value));
            if !self.eat(",") {
                break;
            }
        }
        self.expect("}")?;
        self.node(Expr::Map(entries), pos, height)
    }

    /// The rest of `name(…)`; `piped` is the first argument then.
    fn call(&mut self, name: &str, pos: u32, piped: Option<Node>) -> Parsed {
        if let Some(fold) = Fold::of(name) {
            return self.fold(fold, pos, piped);
        }
        let Some(builtin) = builtins::find(name, self.scope) else {
            return Err(CompileError::new(format!("unknown name {name}"), pos));
        };
        let args = self.arguments(piped)?;
        let height = highest(&args);
        self.node(Expr::Call(builtin, args), pos, height)
    }

    fn arguments(&mut self, piped: Option<Node>) -> Result<Vec<Node>, CompileError> {
        self.expect("(")?;
        let mut args: Vec<Node> = piped.into_iter().collect();
        while !self.is(")") {
            args.push(self.expression(0)?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(args)
    }

    fn fold(&mut self, fold: Fold, pos: u32, piped: Option<Node>) -> Parsed {
        self.expect("(")?;
        let over = match piped {
            Some(node) => node,
            None => {
                let node = self.expression(0)?;
                if !self.is(")") {
                    self.expect(",")?;
                }
                node
            }
        };
        let predicate = match self.is(")") {
            true if fold.predicate_optional() => None,
            true => {
                return Err(CompileError::new(
                    format!("not enough arguments to call {}", fold.name()),
                    pos,
                ));
            }
            false => Some(Box::new(self.predicate()?)),
        };
        let mut extra = None;
        if predicate.is_some() && self.eat(",") && !self.is(")") {
            if !fold.takes_extra() {
                return Err(CompileError::new(
                    format!("too many arguments to call {}", fold.name()),
                    pos,
                ));
            }
            extra = Some(Box::new(self.expression(0)?));
            self.eat(",");
        }
        self.expect(")")?;
        let height = [&predicate, &extra]
            .into_iter()
            .flatten()
            .map(|n| n.height)
            .fold(over.height, u16::max);
        self.node(
            Expr::Fold {
                fold,
                over: Box::new(over),
                predicate,
                extra,
            },
            pos,
            height,
        )
    }

    fn predicate(&mut self) -> Parsed {
        self.predicates += 1;
        let node = if self.eat("{") {
            let node = self.sequence()?;
            self.expect("}")?;
            node
        } else {
            self.expression(0)?
        };
        self.predicates -= 1;
        Ok(node)
    }
}

fn highest(nodes: &[Node]) -> u16 {
    nodes.iter().map(|n| n.height).max().unwrap_or(0)
}
