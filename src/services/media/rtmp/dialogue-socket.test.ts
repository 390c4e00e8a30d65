import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DialogueSocket } from './dialogue-socket.ts'
import { until } from './rtmp-service.testkit.ts'

let near: Socket
let far: Socket

beforeEach(async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  far = connect((server.address() as AddressInfo).port, '127.0.0.1')
  far.on('error', () => {})
  ;[near] = (await once(server, 'connection')) as [Socket]
  server.close()
})

afterEach(() => {
  near.destroy()
  far.destroy()
})

/** A dialogue that counts what it is given, and says what the test has put there. */
class StubDialogue {
  received = 0
  readonly outputs: ({ kind: 'send'; bytes: Buffer } | { kind: 'done' })[] = []
  failure: Error | undefined
  readonly #fullAt: number

  constructor(fullAt = Number.POSITIVE_INFINITY) {
    this.#fullAt = fullAt
  }

  get isFull(): boolean {
    return this.received >= this.#fullAt
  }

  receive(bytes: Uint8Array): void {
    if (this.failure !== undefined) throw this.failure
    this.received += bytes.length
  }

  poll(): { kind: 'send'; bytes: Buffer } | { kind: 'done' } | undefined {
    return this.outputs.shift()
  }
}

function drive(dialogue: StubDialogue): { link: DialogueSocket<{ kind: 'done' }>; events: unknown[] } {
  const events: unknown[] = []
  const link = new DialogueSocket<{ kind: 'done' }>(near, dialogue, {
    onOutput: (output) => void events.push(output.kind),
    onEnd: (error) => void events.push(error ?? 'end'),
  })
  return { link, events }
}

describe('DialogueSocket', () => {
  test('does not read on while the dialogue is full', async () => {
    const dialogue = new StubDialogue(1000)
    drive(dialogue)
    far.write(Buffer.alloc(20_000_000))
    await until(() => near.isPaused())
    expect(dialogue.received).toBeGreaterThanOrEqual(1000)
    expect(dialogue.received).toBeLessThan(200_000)
  })

  test('writes what the dialogue says, and hands on the rest', async () => {
    const dialogue = new StubDialogue()
    const { link, events } = drive(dialogue)
    dialogue.outputs.push({ kind: 'send', bytes: Buffer.from('hello') }, { kind: 'done' })
    link.flush()
    const [bytes] = (await once(far, 'data')) as [Buffer]
    expect([bytes.toString(), events]).toEqual(['hello', ['done']])
  })

  test('tells once that the peer has ended', async () => {
    const { events } = drive(new StubDialogue())
    far.end()
    await until(() => events.length > 0)
    near.destroy()
    await once(near, 'close')
    expect(events).toEqual(['end'])
  })

  test('tells what the dialogue threw, and is over then', async () => {
    const dialogue = new StubDialogue()
    const { events } = drive(dialogue)
    dialogue.failure = new Error('bad')
    far.write('x')
    await until(() => events.length > 0)
    expect(events).toEqual([dialogue.failure])
    expect(near.isPaused()).toBe(true)
  })

  test('leaves the socket alone once stopped', async () => {
    const dialogue = new StubDialogue()
    const { link, events } = drive(dialogue)
    link.stop()
    dialogue.outputs.push({ kind: 'done' })
    link.flush()
    near.destroy(new Error('nobody listens'))
    await until(() => near.closed)
    expect([events, dialogue.received]).toEqual([[], 0])
  })
})
