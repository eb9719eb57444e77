"""Which names in a piece of Python are local to a function, by Python's own rules of scope.

A parameter or an assigned name is local: it may be called anything. What a module, a class, an import or a builtin
names is not local: its name is what it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
# The field of a node that is a name, where the name can be a local one.
FIELDS: dict[type[ast.AST], str] = {
    ast.Name: "id",
    ast.arg: "arg",
    ast.ExceptHandler: "name",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
}


class Scope:
    """A module, a class, a function or a comprehension; `local`: what is bound in it is local to a function."""

    def __init__(self, outer: Scope | None, local: bool, comprehension: bool = False) -> None:
        self.outer = outer
        self.local = local
        self.comprehension = comprehension
        self.bound: set[str] = set()
        # Names that imports bind, and those declared global.
        self.fixed: set[str] = set()
        self.nonlocals: set[str] = set()

    def owner(self, name: str) -> Scope | None:
        """The scope that `name`, used here, is a local variable of; None if it is not local."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.fixed:
                return None
            # A class is no scope for the functions inside it.
            if name in scope.bound - scope.nonlocals and (scope.local or scope is self):
                return scope if scope.local else None
            scope = scope.outer
        return None


# A name and the scope it is local to, None for one that is not local.
Symbol = tuple[Scope | None, str]


class Names(ast.NodeVisitor):
    """`of`: the symbol of every node that names something. `top`: the outermost scope. `inside`: each function's scope.

    A fragment is a part of some function: a name that nothing in it binds is taken for a local of that function.
    """

    def __init__(self, tree: ast.AST, fragment: bool = False) -> None:
        self.scope = self.top = Scope(None, fragment)
        self.inside: dict[ast.AST, Scope] = {}
        self._uses: list[tuple[ast.AST, str, Scope]] = []
        self.visit(tree)
        free = self.top if fragment else None
        self.of: dict[ast.AST, Symbol] = {node: (scope.owner(name) or free, name) for node, name, scope in self._uses}

    def _use(self, node: ast.AST, name: str, binds: bool = True) -> None:
        if binds:
            self.scope.bound.add(name)
        self._uses.append((node, name, self.scope))

    def _visit(self, nodes: Iterable[ast.AST | None], scope: Scope | None = None) -> None:
        here, self.scope = self.scope, scope or self.scope
        for node in nodes:
            if node is not None:
                self.visit(node)
        self.scope = here

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node, node.id, not isinstance(node.ctx, ast.Load))

    def visit_arg(self, node: ast.arg) -> None:
        self._use(node, node.arg)
        self._visit([node.annotation])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._use(node, node.name)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.scope.fixed.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)

    visit_ImportFrom = visit_Import

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.fixed.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.nonlocals.update(node.names)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._use(node, node.name)
        self._visit([*node.decorator_list, node.returns])
        self._function(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def _function(self, node: Function, body: Iterable[ast.AST]) -> None:
        args = node.args
        self._visit([*args.defaults, *args.kw_defaults])
        self.inside[node] = scope = Scope(self.scope, True)
        self._visit([*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg, *body], scope)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._use(node, node.name)
        self._visit([*node.decorator_list, *node.bases, *node.keywords])
        self._visit(node.body, Scope(self.scope, False))

    def _comprehension(self, node: Comprehension) -> None:
        # The first iterable belongs to the scope outside.
        self._visit([node.generators[0].iter])
        scope = Scope(self.scope, True, True)
        for i, generator in enumerate(node.generators):
            self._visit([generator.target, *generator.ifs, *([generator.iter] if i else [])], scope)
        self._visit([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], scope)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        scope = self.scope
        while scope.comprehension and scope.outer is not None:
            scope = scope.outer
        self._visit([node.target], scope)
        self._visit([node.value])
