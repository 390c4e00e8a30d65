import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { IniError, parseIni } from './ini.ts'

function values(text: string): Record<string, Record<string, string>> {
  return Object.fromEntries(
    parseIni(text)
      .filter(({ entries }) => entries.size > 0)
      .map(({ name, entries }) => [
        name,
        Object.fromEntries([...entries].map(([key, entry]) => [key, entry.text])),
      ]),
  )
}

describe('INI', () => {
  it('has sections, keys and lines', () => {
    const [, common] = parseIni('\n[common]\nbind_port = 7000\nbind_addr: 0.0.0.0\n')
    expect(common).toMatchObject({ name: 'common', line: 2 })
    expect(common?.entries.get('bind_port')).toEqual({ text: '7000', line: 3 })
    expect(common?.entries.get('bind_addr')).toEqual({ text: '0.0.0.0', line: 4 })
  })

  it('has comments at the start of a line only', () => {
    expect(values('; a = 1\n  # b = 2\n[s]\ntoken = a#b;c\nurl = http://x/ # y')).toEqual({
      s: { token: 'a#b;c', url: 'http://x/ # y' },
    })
  })

  it('takes quotes away, and a key alone for true', () => {
    expect(values(`[s]\na = "x y"\nb = 'z'\nc = "x" y\nd\ne =\nf = "\n`)).toEqual({
      s: { a: 'x y', b: 'z', c: '"x" y', d: 'true', e: '', f: '"' },
    })
  })

  it('has values of several lines', () => {
    expect(values('[s]\na = `one\n[two]`\nb = """x\ny"""\nc = 1\\\n  2\n"k=1" = v')).toEqual({
      s: { a: 'one\n[two]', b: 'x\ny', c: '12', 'k=1': 'v' },
    })
  })

  it('joins sections of one name; the last value of a key holds', () => {
    expect(values('[s]\na = 1\nb = 1\n[t]\na = 2\n[s]\nb = 3\r\n')).toEqual({
      s: { a: '1', b: '3' },
      t: { a: '2' },
    })
  })

  it.each([
    ['[common\n', 1],
    ['[s]\n\n= 3', 3],
    ['[]', 1],
    ['[s]\na = `x\n', 2],
  ])('%j is refused with its line', (text, line) => {
    expect(() => parseIni(text)).toThrow(expect.objectContaining({ line }) as Error)
  })

  it('never throws anything but its own error', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('[', ']', 'a', '=', '"""', '`', '\\', '\n', '#', '"', ' ')),
        (parts) => {
          try {
            parseIni(parts.join(''))
          } catch (error) {
            expect(error).toBeInstanceOf(IniError)
          }
        },
      ),
    )
  })
})
