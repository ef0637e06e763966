/** docs/limits.md: every bound, timeout and default of every package, from the `limits.ts` files. */

import ts from 'typescript'
import { cell, docComment, type PackageSource } from './sources.ts'

interface Limit {
  readonly name: string
  readonly value: string
  readonly reason: string
}

function compact(node: ts.Node): string {
  return node.getText().replaceAll(/\s+/g, ' ')
}

/** `const NAME = value`, and each property of `const name = { … }`, whose reasons may stand in the interface. */
function limitsOf(file: ts.SourceFile): Limit[] {
  const limits: Limit[] = []
  const reasons = new Map<string, string>()
  for (const statement of file.statements) {
    if (ts.isInterfaceDeclaration(statement)) {
      for (const member of statement.members)
        reasons.set(member.name?.getText() ?? '', docComment(member))
    }
    if (!ts.isVariableStatement(statement)) continue
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (!initializer) continue
      const object = ts.isAsExpression(initializer) ? initializer.expression : initializer
      if (!ts.isObjectLiteralExpression(object)) {
        limits.push({
          name: name.getText(),
          value: compact(initializer),
          reason: docComment(statement),
        })
        continue
      }
      for (const property of object.properties) {
        if (!ts.isPropertyAssignment(property)) continue
        const key = property.name.getText()
        const reason = docComment(property) || (reasons.get(key) ?? docComment(statement))
        limits.push({
          name: `${name.getText()}.${key}`,
          value: compact(property.initializer),
          reason,
        })
      }
    }
  }
  return limits
}

/** The page. */
export function limitsPage(sources: readonly PackageSource[]): string {
  const sections = sources
    .filter(({ path }) => path.endsWith('/limits.ts'))
    .map(({ path, file }) => [
      `## ${path}`,
      '',
      '| limit | value | why |',
      '|---|---|---|',
      ...limitsOf(file).map(
        ({ name, value, reason }) => `| \`${name}\` | \`${cell(value)}\` | ${cell(reason)} |`,
      ),
      '',
    ])
  return [
    '# Limits',
    '',
    '<!-- Written by scripts/reference; do not edit. -->',
    '',
    'Every bound, timeout and default, as the sources have it. What a guest or a network can make grow is bounded here.',
    '',
    ...sections.flat(),
  ].join('\n')
}
