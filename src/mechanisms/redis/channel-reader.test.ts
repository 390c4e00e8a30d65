import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChannelReader } from './channel-reader.ts'

const read = (...texts: readonly string[]): unknown => {
  const reader = new ChannelReader()
  return texts.map((text) => reader.push(Buffer.from(text)))
}

const message = '*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\n\u00e9\n\r\n'

describe('what a server says to who hears channels', () => {
  it('are messages, answers and refusals, of any pieces', () => {
    const all = `*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n${message}*2\r\n$4\r\npong\r\n$0\r\n\r\n+PONG\r\n$-1\r\n-NOPERM no\r\n`
    const words = [
      { kind: 'answer' },
      { kind: 'message', channel: 'c', message: '\u00e9\n' },
      ...Array.from({ length: 3 }, () => ({ kind: 'answer' })),
      { kind: 'refusal', text: 'NOPERM no' },
    ]
    expect(read(all)).toEqual([words])
    const reader = new ChannelReader()
    const bytes = Buffer.from(all)
    expect([...bytes].flatMap((_, at) => reader.push(bytes.subarray(at, at + 1)))).toEqual(words)
  })

  it.each([
    ['another protocol', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['no words', '*0\r\n'],
    ['nothing in place of words', '*-1\r\n'],
    ['nothing in place of a word', '*1\r\n$-1\r\n'],
    ['too many words', '*9\r\n'],
    ['words within words', '*1\r\n*1\r\n'],
    ['an event that was not asked for', '*2\r\n$7\r\nmonitor\r\n$1\r\nx\r\n'],
    ['a message without a channel', '*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n'],
    ['a text that is too long', '$1048577\r\n'],
    ['a length that is none', '$x\r\n'],
    ['a text that is longer than it says', '$1\r\nab\r\n'],
    ['a line without an end', `+${'x'.repeat(70_000)}`],
  ])('%s is none of it', (_, text) => {
    expect(read(text)).toEqual([undefined])
  })

  it('any other bytes throw nothing and are not kept without bound', () => {
    const text = fc.oneof(
      fc.constantFrom(
        '*3\r\n',
        '$7\r\nmessage\r\n',
        '$1\r\nc\r\n',
        '$-1\r\n',
        ':1\r\n',
        '-E\r\n',
        '*-1\r\n',
        '\r\n',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
    )
    fc.assert(fc.property(fc.array(text, { maxLength: 20 }), (texts) => void read(...texts)))
    const reader = new ChannelReader()
    reader.push(Buffer.from('*3\r\n'))
    const piece = Buffer.from(`$1000000\r\n${'x'.repeat(1_000_000)}\r\n`)
    expect([reader.push(piece), reader.push(piece), reader.push(piece)]).toEqual([[], [], undefined])
  })
})
