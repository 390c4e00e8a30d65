import ts from 'typescript'

/** Globals that protocols are handed as arguments instead: time, randomness, environment, network. */
const impure = new Map<string, ReadonlySet<string> | 'all'>([
  ['Date', new Set(['now'])],
  ['Math', new Set(['random'])],
  ['performance', 'all'],
  ['process', 'all'],
  ['setTimeout', 'all'],
  ['setInterval', 'all'],
  ['setImmediate', 'all'],
  ['fetch', 'all'],
])

/** What is random of `node:crypto`, and `crypto.getRandomValues` as a global. */
const random = /^(random\w*|getRandomValues)$/

/** What is pure of `node:net`: the tests of address texts. */
const pureOfNet = /^isIP(v4|v6)?$/

/** One use of a clock, randomness or the environment. */
export interface ImpureUse {
  readonly line: number
  readonly what: string
}

/** Finds what a pure file may not use, by syntax: comments and strings do not count. */
export function findImpureUses(fileName: string, text: string): readonly ImpureUse[] {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.ES2023, true)
  const uses: ImpureUse[] = []
  const found = (node: ts.Node, what: string): void => {
    uses.push({ line: source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1, what })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      const object = node.expression.text
      const members = impure.get(object)
      if (members === 'all' || members?.has(node.name.text) === true)
        found(node, `${object}.${node.name.text}`)
      if (object === 'crypto' && random.test(node.name.text)) found(node, `crypto.${node.name.text}`)
    } else if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
      if (impure.get(node.expression.text) === 'all') found(node, `${node.expression.text}()`)
    } else if (ts.isNewExpression(node) && ts.isIdentifier(node.expression)) {
      if (node.expression.text === 'Date' && (node.arguments?.length ?? 0) === 0) found(node, 'new Date()')
    } else if (ts.isImportSpecifier(node)) {
      const name = (node.propertyName ?? node.name).text
      if (random.test(name)) found(node, `import of ${name}`)
    } else if (ts.isStringLiteral(node) && /^(node:)?net$/.test(node.text)) {
      const names = namesImportedFrom(node)
      if (names === undefined || names.some((name) => !pureOfNet.test(name))) found(node, 'node:net')
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return uses
}

function namesImportedFrom(specifier: ts.StringLiteral): readonly string[] | undefined {
  const declaration = specifier.parent
  if (!ts.isImportDeclaration(declaration)) return undefined
  const bindings = declaration.importClause?.namedBindings
  if (bindings === undefined || !ts.isNamedImports(bindings)) return undefined
  if (declaration.importClause?.name !== undefined) return undefined
  return bindings.elements.map((element) => (element.propertyName ?? element.name).text)
}
