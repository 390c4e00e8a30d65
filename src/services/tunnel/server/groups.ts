import { constantTimeEqual } from '../../../foundation/constant-time.ts'
import { TunnelError } from '../errors.ts'
import type { Backend, BackendPicker } from './backend.ts'
import { GroupPicker } from './group-picker.ts'

/** What makes proxies members of one group: all of it must agree. */
export interface GroupTerms {
  readonly type: string
  readonly name: string
  readonly key: string
  /** What the listener or the routes are: domains, locations, user; compared as text. */
  readonly place: string
  /** Remote port asked for; 0 where there is none. */
  readonly port: number
}

/** A listener, or routes, with what was made known of it (a port, say). */
export interface Place<T> {
  readonly value: T
  readonly close: () => void
}

interface Group {
  readonly terms: GroupTerms
  readonly picker: GroupPicker
  readonly place: Promise<Place<unknown>>
}

/**
 * Load-balancing groups (reference §15): the first member opens the listener or the routes, the last one that leaves closes
 * them, and connections go to the members in turn.
 */
export class Groups {
  readonly #groups = new Map<string, Group>()

  /**
   * Joins a group, or founds it.
   *
   * @param open opens what leads to the members
   * @returns what the founder opened, and how to leave
   * @throws TunnelError TUNNEL_GROUP, or what `open` throws
   */
  async join<T>(
    terms: GroupTerms,
    member: Backend,
    open: (backends: BackendPicker) => Promise<Place<T>>,
  ): Promise<Place<T>> {
    const id = `${terms.type} ${terms.name}`
    let group = this.#groups.get(id)
    if (group === undefined) {
      const picker = new GroupPicker()
      group = { terms, picker, place: open(picker) }
      this.#groups.set(id, group)
    } else {
      checkTerms(group.terms, terms)
      if (group.picker.has(member.proxyName)) throw groupError('group proxy repeated')
    }
    const { picker, place } = group
    picker.add(member)
    let hasLeft = false
    const leave = (): void => {
      if (hasLeft) return
      hasLeft = true
      picker.remove(member)
      if (picker.size > 0) return
      if (this.#groups.get(id) === group) this.#groups.delete(id)
      place.then(({ close }) => close(), nothing)
    }
    try {
      // What a group opened is always what its type opens.
      const opened = (await place) as Place<T>
      return { value: opened.value, close: leave }
    } catch (error) {
      leave()
      throw error
    }
  }
}

function checkTerms(founder: GroupTerms, terms: GroupTerms): void {
  if (founder.place !== terms.place) throw groupError('group params invalid')
  if (founder.port !== terms.port) throw groupError('group should have same remote port')
  if (!constantTimeEqual(founder.key, terms.key)) throw groupError('group auth failed')
}

function groupError(message: string): TunnelError {
  return new TunnelError('TUNNEL_GROUP', message, { side: 'client' })
}

function nothing(): void {}
