import type { StreamKey } from '../../../mechanisms/balancer/index.ts'
import type { OriginClient, OriginRequest, OriginResult } from './origin-client.ts'
import type { OriginLinks, OriginResource } from './origin-links.ts'

/** Most redirects that one request follows. */
const maxRedirects = 3

/** What came of a request to an origin, and who gave the last word. */
export interface DialogueResult {
  readonly result: OriginResult
  readonly resource: OriginResource
}

/** Asks origins, and follows their redirects where these lead to an origin. */
export class OriginDialogue {
  readonly #client: OriginClient
  readonly #links: OriginLinks

  constructor(client: OriginClient, links: OriginLinks) {
    this.#client = client
    this.#links = links
  }

  /** Never rejects. A redirect to anywhere else is no answer: nobody but an origin gets a client's offer and token. */
  async ask(
    first: OriginResource,
    key: StreamKey,
    {
      headers,
      ...request
    }: Pick<OriginRequest, 'method' | 'body' | 'signal'> & {
      readonly headers: Readonly<Record<string, string>>
    },
  ): Promise<DialogueResult> {
    let resource = first
    for (let redirects = 0; ; redirects++) {
      const { api, target, host } = resource
      const result = await this.#client.ask(api, { ...request, target, headers: { ...headers, host } })
      if (!result.ok || result.response.status < 300 || result.response.status > 399)
        return { result, resource }
      const { status, headers: answered } = result.response
      const isKept = status === 307 || status === 308
      const next =
        isKept && redirects < maxRedirects
          ? await this.#links.follow(answered.location, resource, key)
          : undefined
      if (next === undefined) {
        return { result: { ok: false, failure: 'broken', cause: { code: `HTTP_${status}` } }, resource }
      }
      resource = next
    }
  }
}
