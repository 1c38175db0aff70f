//! The kind pass (ANA-83): what cannot work is refused before running, also where short-circuiting
//! would never get there.

use std::sync::Arc;

use super::ast::{BinaryOp, Expr, Node, Pointer, UnaryOp};
use super::builtins::{Fold, Signature};
use super::kind::Kind;
use super::{CompileError, Names, time};

/// The kind of the whole tree, or why it cannot run.
pub(super) fn check(root: &Node, names: &Names) -> Result<Kind, CompileError> {
    Checker {
        names,
        lets: Vec::new(),
        frames: Vec::new(),
    }
    .kind(root)
}

struct Checker<'a> {
    names: &'a Names,
    lets: Vec<(Arc<str>, Kind)>,
    frames: Vec<Frame>,
}

/// What `#` and its relatives are inside a predicate.
struct Frame {
    element: Kind,
    acc: bool,
    index: bool,
}

type Checked = Result<Kind, CompileError>;

fn fail<T>(node: &Node, message: String) -> Result<T, CompileError> {
    Err(CompileError::new(message, node.pos))
}

impl Checker<'_> {
    fn kind(&mut self, node: &Node) -> Checked {
        match &node.expr {
            Expr::Nil => Ok(Kind::Nil),
            Expr::Bool(_) => Ok(Kind::Bool),
            Expr::Int(_) => Ok(Kind::Int),
            Expr::Float(_) => Ok(Kind::Float),
            Expr::Text(_) => Ok(Kind::Text),
            Expr::Name(name) => self.name(node, name),
            // Members of `$env` are looked up by name, see `member`.
            Expr::Env => Ok(Kind::Object),
            Expr::Pointer(pointer) => self.pointer(node, *pointer),
            Expr::Unary(op, operand) => self.unary(node, *op, operand),
            Expr::Binary(op, left, right) => {
                let (l, r) = (self.kind(left)?, self.kind(right)?);
                binary(node, *op, &l, &r, right)
            }
            Expr::Matches(text, _) => {
                let text = self.kind(text)?;
                binary(node, BinaryOp::Matches, &text, &Kind::Text, node)
            }
            Expr::Conditional(test, yes, no) => self.conditional(test, yes, no),
            Expr::Let(name, value, body) => self.declare(node, name, value, body),
            Expr::Sequence(nodes) => {
                let mut last = Kind::Nil;
                for node in nodes {
                    last = self.kind(node)?;
                }
                Ok(last)
            }
            Expr::Member {
                base,
                key,
                optional,
            } => self.member(node, base, key, *optional),
            Expr::Slice { base, from, to } => self.slice(node, base, [from, to]),
            Expr::Method {
                base, name, args, ..
            } => self.method(node, base, name, args),
            // `?.` may always yield nil.
            Expr::Chain(inner) => self.kind(inner),
            Expr::Call(builtin, args) => self.call(node, builtin, args),
            Expr::Fold {
                fold,
                over,
                predicate,
                extra,
            } => self.fold(node, *fold, over, predicate.as_deref(), extra.as_deref()),
            Expr::Array(items) => self.array(items),
            Expr::Map(entries) => {
                for (key, value) in entries {
                    let kind = self.kind(key)?;
                    if !kind.may_be(|k| *k == Kind::Text) {
                        return fail(
                            key,
                            format!("cannot use {} as a map key, must be string", kind.name()),
                        );
                    }
                    self.kind(value)?;
                }
                Ok(Kind::Object)
            }
        }
    }

    fn name(&self, node: &Node, name: &str) -> Checked {
        if let Some((_, kind)) = self.lets.iter().rev().find(|(bound, _)| **bound == *name) {
            return Ok(kind.clone());
        }
        match (name, &self.names.result) {
            ("result", Some(kind)) => Ok(kind.clone()),
            _ => fail(node, format!("unknown name {name}")),
        }
    }

    fn pointer(&self, node: &Node, pointer: Pointer) -> Checked {
        let Some(frame) = self.frames.last() else {
            return fail(
                node,
                "cannot use pointer accessor outside predicate".to_owned(),
            );
        };
        match pointer {
            Pointer::Element => Ok(frame.element.clone()),
            Pointer::Acc if frame.acc => Ok(Kind::Any),
            Pointer::Index if frame.index => Ok(Kind::Int),
            Pointer::Acc => fail(node, "unknown pointer #acc".to_owned()),
            Pointer::Index => fail(node, "unknown pointer #index".to_owned()),
        }
    }

    fn unary(&mut self, node: &Node, op: UnaryOp, operand: &Node) -> Checked {
        let kind = self.kind(operand)?;
        let fits = match op {
            UnaryOp::Not => kind.may_be(|k| *k == Kind::Bool),
            UnaryOp::Minus | UnaryOp::Plus => kind.may_be(Kind::is_number),
        };
        match (fits, op) {
            (true, UnaryOp::Not) => Ok(Kind::Bool),
            (true, _) => Ok(kind),
            (false, _) => fail(
                node,
                format!(
                    "invalid operation: {} (mismatched type {})",
                    op.text(),
                    kind.name()
                ),
            ),
        }
    }

    fn conditional(&mut self, test: &Node, yes: &Node, no: &Node) -> Checked {
        let kind = self.kind(test)?;
        if !kind.may_be(|k| *k == Kind::Bool) {
            return fail(
                test,
                format!(
                    "non-bool expression (type {}) used as condition",
                    kind.name()
                ),
            );
        }
        let yes = self.kind(yes)?;
        Ok(yes.either(self.kind(no)?))
    }

    fn declare(&mut self, node: &Node, name: &Arc<str>, value: &Node, body: &Node) -> Checked {
        let taken = (&**name == "result" && self.names.result.is_some())
            || super::builtins::find(name, self.names.scope()).is_some()
            || Fold::of(name).is_some()
            || self.lets.iter().any(|(bound, _)| bound == name);
        if taken {
            return fail(node, format!("cannot redeclare {name}"));
        }
        let kind = self.kind(value)?;
        self.lets.push((name.clone(), kind));
        let body = self.kind(body);
        self.lets.pop();
        body
    }

    fn member(&mut self, node: &Node, base: &Node, key: &Node, optional: bool) -> Checked {
        if let (Expr::Env, Expr::Text(name)) = (&base.expr, &key.expr) {
            return if optional {
                Ok(Kind::Any)
            } else {
                self.name(node, name)
            };
        }
        let base = self.kind(base)?;
        let by = self.kind(key)?;
        match (&base, &key.expr) {
            (Kind::Any, _) => Ok(Kind::Any),
            (Kind::Object, _) if by.may_be(|k| *k == Kind::Text) => Ok(Kind::Any),
            (Kind::Object, _) => fail(
                key,
                format!(
                    "cannot use {} to get an element from {}",
                    by.name(),
                    base.name()
                ),
            ),
            (Kind::Array(element), _) if by.may_be(|k| *k == Kind::Int) => Ok((**element).clone()),
            (Kind::Array(_), _) => fail(
                key,
                format!(
                    "array elements can only be selected using an integer (got {})",
                    by.name()
                ),
            ),
            (Kind::Record(fields), Expr::Text(name)) => {
                match fields.iter().find(|(field, _)| **field == **name) {
                    Some((_, field)) => Ok(Kind::of_field(*field)),
                    None => fail(key, format!("type {} has no field {name}", base.name())),
                }
            }
            (_, Expr::Text(name)) => fail(key, format!("type {} has no field {name}", base.name())),
            _ => fail(
                key,
                format!("type {}[{}] is undefined", base.name(), by.name()),
            ),
        }
    }

    fn slice(&mut self, node: &Node, base: &Node, bounds: [&Option<Box<Node>>; 2]) -> Checked {
        let kind = self.kind(base)?;
        if !matches!(kind, Kind::Any | Kind::Text | Kind::Array(_)) {
            return fail(node, format!("cannot slice {}", kind.name()));
        }
        for bound in bounds.into_iter().flatten() {
            let by = self.kind(bound)?;
            if !by.may_be(|k| *k == Kind::Int) {
                return fail(bound, format!("non-integer slice index {}", by.name()));
            }
        }
        Ok(kind)
    }

    fn method(&mut self, node: &Node, base: &Node, name: &str, args: &[Node]) -> Checked {
        let on = self.kind(base)?;
        for arg in args {
            self.kind(arg)?;
        }
        if matches!(on, Kind::Any | Kind::Object) {
            return Ok(Kind::Any);
        }
        match time::method(&on, name) {
            Some(kind) => Ok(kind),
            None => fail(node, format!("type {} has no method {name}", on.name())),
        }
    }

    fn call(&mut self, node: &Node, builtin: &Signature, args: &[Node]) -> Checked {
        let name = builtin.name;
        if args.len() < builtin.required {
            return fail(node, format!("not enough arguments to call {name}"));
        }
        if args.len() > builtin.params.len() && !builtin.variadic {
            return fail(node, format!("too many arguments to call {name}"));
        }
        let mut kinds = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            let kind = self.kind(arg)?;
            let param = builtin.params.get(i).or(builtin.params.last());
            if param.is_some_and(|p| !p.accepts(&kind)) {
                return fail(
                    arg,
                    format!("invalid argument for {name} (type {})", kind.name()),
                );
            }
            kinds.push(kind);
        }
        Ok((builtin.returns)(&kinds))
    }

    fn array(&mut self, items: &[Node]) -> Checked {
        let mut element: Option<Kind> = None;
        for item in items {
            let kind = self.kind(item)?;
            element = Some(match element {
                None => kind,
                Some(before) if before == kind => kind,
                Some(_) => Kind::Any,
            });
        }
        Ok(Kind::array_of(element.unwrap_or(Kind::Any)))
    }

    fn fold(
        &mut self,
        node: &Node,
        fold: Fold,
        over: &Node,
        predicate: Option<&Node>,
        extra: Option<&Node>,
    ) -> Checked {
        let element = match self.kind(over)? {
            Kind::Any => Kind::Any,
            Kind::Array(element) => (*element).clone(),
            other => {
                return fail(
                    over,
                    format!(
                        "builtin {} takes only array (got {})",
                        fold.name(),
                        other.name()
                    ),
                );
            }
        };
        let mut outcome = None;
        if let Some(predicate) = predicate {
            self.frames.push(Frame {
                element: element.clone(),
                acc: fold == Fold::Reduce,
                index: matches!(fold, Fold::Reduce | Fold::Map),
            });
            let kind = self.kind(predicate);
            self.frames.pop();
            let kind = kind?;
            if kind == Kind::Nil {
                return fail(
                    predicate,
                    "predicate should yield a value (got nil)".to_owned(),
                );
            }
            if fold.wants_bool() && !kind.may_be(|k| *k == Kind::Bool) {
                return fail(
                    predicate,
                    format!("predicate should return boolean (got {})", kind.name()),
                );
            }
            outcome = Some(kind);
        } else if fold.wants_bool() && !element.may_be(|k| *k == Kind::Bool) {
            return fail(
                node,
                format!("{} should be called on array of booleans", fold.name()),
            );
        }
        if let Some(extra) = extra {
            let kind = self.kind(extra)?;
            if fold == Fold::SortBy && !kind.may_be(|k| *k == Kind::Text) {
                return fail(extra, format!("invalid sort order (type {})", kind.name()));
            }
        }
        Ok(match fold {
            Fold::All | Fold::None | Fold::Any | Fold::One => Kind::Bool,
            Fold::Count | Fold::FindIndex | Fold::FindLastIndex => Kind::Int,
            Fold::Filter => Kind::array_of(element),
            Fold::Map => Kind::array_of(outcome.unwrap_or(Kind::Any)),
            Fold::Find | Fold::FindLast => element,
            Fold::Sum => outcome.unwrap_or(element),
            Fold::SortBy => Kind::array_of(Kind::Any),
            Fold::GroupBy | Fold::Reduce => Kind::Any,
        })
    }
}

fn binary(node: &Node, op: BinaryOp, l: &Kind, r: &Kind, right: &Node) -> Checked {
    let outcome = match op {
        BinaryOp::Or | BinaryOp::And => both(l, r, |k| *k == Kind::Bool).then_some(Kind::Bool),
        BinaryOp::Equal | BinaryOp::NotEqual => l.comparable(r).then_some(Kind::Bool),
        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
            ordered(l, r).then_some(Kind::Bool)
        }
        BinaryOp::In => return membership(node, l, r),
        BinaryOp::Matches => {
            if let Expr::Text(pattern) = &right.expr
                && let Err(e) = super::re2::compile(pattern)
            {
                return fail(right, e);
            }
            both(l, r, |k| *k == Kind::Text).then_some(Kind::Bool)
        }
        BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith => {
            both(l, r, |k| *k == Kind::Text).then_some(Kind::Bool)
        }
        BinaryOp::Range => both(l, r, |k| *k == Kind::Int).then(|| Kind::array_of(Kind::Int)),
        BinaryOp::Coalesce => Some(l.clone().either(r.clone())),
        BinaryOp::Add
        | BinaryOp::Subtract
        | BinaryOp::Multiply
        | BinaryOp::Divide
        | BinaryOp::Power => arithmetic(op, l, r),
        BinaryOp::Modulo => both(l, r, |k| *k == Kind::Int).then_some(Kind::Int),
    };
    match outcome {
        Some(kind) => Ok(kind),
        None => fail(
            node,
            format!(
                "invalid operation: {} (mismatched types {} and {})",
                op.text(),
                l.name(),
                r.name()
            ),
        ),
    }
}

fn both(l: &Kind, r: &Kind, wanted: impl Fn(&Kind) -> bool) -> bool {
    l.may_be(&wanted) && r.may_be(&wanted)
}

fn has_order(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int | Kind::Float | Kind::Text | Kind::Time | Kind::Duration
    )
}

fn ordered(l: &Kind, r: &Kind) -> bool {
    match (l, r) {
        (Kind::Any, other) | (other, Kind::Any) => other.may_be(has_order),
        (a, b) if a.is_number() && b.is_number() => true,
        (a, b) => a == b && has_order(a),
    }
}

fn membership(node: &Node, l: &Kind, r: &Kind) -> Checked {
    match r {
        Kind::Any => Ok(Kind::Bool),
        Kind::Text if l.is_any() => Ok(Kind::Bool),
        Kind::Object | Kind::Record(_) | Kind::Time if l.may_be(|k| *k == Kind::Text) => {
            Ok(Kind::Bool)
        }
        Kind::Object | Kind::Record(_) | Kind::Time => fail(
            node,
            format!("cannot use {} as type string in map key", l.name()),
        ),
        Kind::Array(element) if l.comparable(element) => Ok(Kind::Bool),
        Kind::Array(element) => fail(
            node,
            format!(
                "cannot use {} as type {} in array",
                l.name(),
                element.name()
            ),
        ),
        _ => fail(
            node,
            format!(
                "invalid operation: in (mismatched types {} and {})",
                l.name(),
                r.name()
            ),
        ),
    }
}

fn arithmetic(op: BinaryOp, l: &Kind, r: &Kind) -> Option<Kind> {
    use Kind::{Any, Duration, Text, Time};
    let numbers = l.is_number() && r.is_number();
    let kind = match (op, l, r) {
        (BinaryOp::Divide | BinaryOp::Power, a, b) => {
            return both(a, b, Kind::is_number).then_some(Kind::Float);
        }
        _ if numbers => {
            if *l == Kind::Int && *r == Kind::Int {
                Kind::Int
            } else {
                Kind::Float
            }
        }
        (BinaryOp::Add, Text, Text) => Text,
        (BinaryOp::Add, Time, Duration) | (BinaryOp::Add, Duration, Time) => Time,
        (BinaryOp::Add | BinaryOp::Subtract, Duration, Duration) => Duration,
        (BinaryOp::Subtract, Time, Time) => Duration,
        (BinaryOp::Subtract, Time, Duration) => Time,
        (BinaryOp::Multiply, Duration, b) if b.is_number() => Duration,
        (BinaryOp::Multiply, a, Duration) if a.is_number() => Duration,
        (BinaryOp::Multiply, Duration, Duration) => Duration,
        (_, Any, other) | (_, other, Any) => {
            let fits = other.may_be(|k| match op {
                BinaryOp::Add => has_order(k),
                BinaryOp::Subtract => k.is_number() || matches!(k, Time | Duration),
                _ => k.is_number() || *k == Duration,
            });
            return fits.then_some(Any);
        }
        _ => return None,
    };
    Some(kind)
}
