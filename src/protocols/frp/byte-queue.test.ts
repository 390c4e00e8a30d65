import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ByteQueue } from './index.ts'

describe('ByteQueue', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('gives back what was pushed, whatever is taken in between', () => {
    const steps = fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.nat(400)), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (given) => {
        const queue = new ByteQueue()
        let model: number[] = []
        for (const step of given) {
          if (typeof step === 'number') {
            queue.skip(step)
            model = model.slice(step)
          } else {
            queue.push(step)
            model.push(...step)
          }
          expect(queue.length).toBe(model.length)
          expect([...queue.view(0, 1000)]).toEqual(model.slice(0, 1000))
        }
        expect([...queue.takeAll()]).toEqual(model)
        expect(queue.length).toBe(0)
      }),
    )
  })

  it('reserves memory a few times only for many small pieces', () => {
    const reserve = vi.spyOn(Buffer, 'allocUnsafe')
    const queue = new ByteQueue()
    for (let i = 0; i < 100_000; i++) queue.push(Buffer.of(i & 0xff))
    expect(reserve.mock.calls.length).toBeLessThan(20)
  })

  it('moves what waits a few times only while small pieces come and go', () => {
    const queue = new ByteQueue()
    // Nearly all of its memory waits to be used.
    for (const length of [1000, 1, 990]) queue.push(Buffer.alloc(length))
    const copy = vi.spyOn(Buffer.prototype, 'copy')
    for (let i = 0; i < 10_000; i++) {
      queue.push(Buffer.of(1))
      queue.skip(1)
    }
    expect(copy.mock.calls.length).toBeLessThan(20)
  })
})
