/** docs/errors.md: every `NETKIT_…` code with the messages that carry it. */

import ts from 'typescript'
import { cell, type PackageSource } from './sources.ts'

/** A message's text, with a mark where a value is put in. */
function messageText(node: ts.Expression | undefined): string | undefined {
  if (!node) return undefined
  if (ts.isStringLiteralLike(node)) return node.text
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map((span) => `…${span.literal.text}`).join('')
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [messageText(node.left), messageText(node.right)]
    return left === undefined || right === undefined ? undefined : left + right
  }
  return undefined
}

function codesOf(
  source: PackageSource,
  found: Map<string, { packages: Set<string>; messages: Set<string> }>,
): void {
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) && /^NETKIT_[A-Z0-9_]+$/.test(node.text)) {
      const entry = found.get(node.text) ?? { packages: new Set(), messages: new Set() }
      found.set(node.text, entry)
      entry.packages.add(source.package)
      const call = node.parent
      if (ts.isNewExpression(call) || ts.isCallExpression(call)) {
        const at = call.arguments?.indexOf(node) ?? -1
        const message = messageText(call.arguments?.[at + 1])
        if (message !== undefined) entry.messages.add(message)
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source.file)
}

/** The page. */
export function errorsPage(sources: readonly PackageSource[]): string {
  const found = new Map<string, { packages: Set<string>; messages: Set<string> }>()
  for (const source of sources) codesOf(source, found)
  const rows = [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { packages, messages }]) =>
        `| \`${code}\` | ${[...packages].join(', ')} | ${cell([...messages].join('<br>'))} |`,
    )
  return [
    '# Errors',
    '',
    '<!-- Written by scripts/reference; do not edit. -->',
    '',
    'Programs match on `code`. Errors that netkit itself raises are `NetkitError`s with one of the codes below; `isNetkitError(error, code)` recognises',
    'them across duplicate installs. Errors of sockets, real or virtual, carry the fields of Node’s own (`code`, `syscall`, `address`, `port`), and `reason` where',
    'netkit refused. Malformed input from a guest or a network is no error: it is counted by reason and dropped.',
    '',
    '| code | packages | says |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}
