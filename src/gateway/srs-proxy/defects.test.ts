import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** Defects that section 9 of the reference lists. */
const COUNT = 46

const root = new URL('../../../', import.meta.url)
const page = readFileSync(new URL('docs/srs-proxy.md', root), 'utf8')
const rows = [...page.matchAll(/^\| (\d+) \|.*$/gm)].map(([row, number]) => ({
  number: Number(number),
  tests: [...row.matchAll(/`([^`]+\.ts)` “([^”]+)”/g)].map(([, file = '', title = '']) => ({ file, title })),
}))

describe('the list of defects in docs/srs-proxy.md', () => {
  it('has them all, each with a test', () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1))
    expect(rows.filter(({ tests }) => tests.length === 0)).toEqual([])
  })

  it('names tests that are there', () => {
    const missing = rows.flatMap(({ number, tests }) =>
      tests.filter(({ file, title }) => !sourceOf(file).includes(title)).map((test) => ({ number, ...test })),
    )
    expect(missing).toEqual([])
  })
})

const sources = new Map<string, string>()

function sourceOf(file: string): string {
  const known = sources.get(file) ?? readFileSync(new URL(file, root), 'utf8').replaceAll(String.raw`\'`, "'")
  sources.set(file, known)
  return known
}
