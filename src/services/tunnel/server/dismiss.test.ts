import { describe, expect, test, vi } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { MessageChannel } from '../message-channel.ts'
import { dismiss } from './dismiss.ts'

function make() {
  const clock = new ManualClock()
  const [near, far] = memoryStreamPair()
  const channel = new MessageChannel(near, 'v1')
  const gone = vi.fn()
  const heard = { bytes: 0, ends: 0 }
  far.attach({
    onBytes: (bytes) => {
      heard.bytes += bytes.length
      return true
    },
    onEnd: () => void heard.ends++,
    onDrain: () => undefined,
    onClose: () => undefined,
  })
  far.resume()
  return { clock, near, far, channel, gone, heard }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a peer that is dismissed', () => {
  test('hears the last message and the end, and is gone when it ends in answer', async () => {
    const { clock, near, far, channel, gone, heard } = make()
    channel.send('LoginResp', { error: 'no' })
    dismiss(channel, near, clock, gone)
    await turn()
    expect(heard.bytes).toBeGreaterThan(9)
    expect([heard.ends, gone.mock.calls.length]).toEqual([1, 0])
    far.end()
    await turn()
    expect([near.isClosed, gone.mock.calls.length, clock.pending]).toEqual([true, 1, 0])
  })

  test('is cut after a second when it does not, whatever it says', async () => {
    const { clock, near, far, channel, gone } = make()
    dismiss(channel, near, clock, gone)
    far.write(Buffer.from('6f00000000000000027b7d', 'hex'))
    clock.advance(999)
    await turn()
    expect(near.isClosed).toBe(false)
    clock.advance(1)
    await turn()
    expect([near.isClosed, gone.mock.calls.length]).toEqual([true, 1])
  })

  test('has gone already', async () => {
    const { clock, near, channel, gone } = make()
    near.destroy()
    channel.resume()
    await turn()
    dismiss(channel, near, clock, gone)
    expect([gone.mock.calls.length, clock.pending]).toEqual([1, 0])
  })
})
