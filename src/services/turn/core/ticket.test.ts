import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Tickets } from './ticket.ts'
import { pseudoRandom } from './turn-kit.testkit.ts'

const key = new Uint8Array(32).fill(7)
const ticket = { allocation: '0123456789abcdef', number: 3 }

describe('Tickets', () => {
  it('have 32 bytes, and open as what they were sealed with', () => {
    const tickets = new Tickets(key, pseudoRandom())
    const sealed = tickets.seal(ticket)
    expect(sealed).toHaveLength(32)
    expect(tickets.open(sealed)).toEqual(ticket)
    expect(new Tickets(key, pseudoRandom()).open(sealed)).toEqual(ticket)
  })

  it('are sealed anew each time, and say nothing', () => {
    const tickets = new Tickets(key, pseudoRandom())
    const [one, two] = [tickets.seal(ticket), tickets.seal(ticket)]
    expect(Buffer.compare(one, two)).not.toBe(0)
    expect(Buffer.from(one).toString('hex')).not.toContain(ticket.allocation)
  })

  it('cannot be opened with another key, nor changed', () => {
    const tickets = new Tickets(key, pseudoRandom())
    const sealed = tickets.seal(ticket)
    expect(new Tickets(new Uint8Array(32), pseudoRandom()).open(sealed)).toBeUndefined()
    for (let i = 0; i < sealed.length; i++) {
      const changed = Uint8Array.from(sealed)
      changed[i] = (changed[i] ?? 0) ^ 1
      expect(tickets.open(changed)).toBeUndefined()
    }
  })

  it('that nobody made never open, nor throw', () => {
    const tickets = new Tickets(key, pseudoRandom())
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ minLength: 32, maxLength: 32 })),
        (bytes) => tickets.open(bytes) === undefined,
      ),
    )
  })
})
