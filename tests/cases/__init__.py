"""What was seen to fail in the world outside, one test a case. tests/CASES.md is the table.

Each test is named after its promise, and its docstring names the case. A case that fails today is marked
`xfail(strict=True, raises=AssertionError)`: the test then fails by its own assertion about the promise, never by an
import or a missing file, and whoever mends the case has to take the mark off.
"""
