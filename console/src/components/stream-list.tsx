import { streams } from '../state/gateway.ts'
import type { LiveStream } from '../state/gateway.ts'
import { watch } from '../state/watch.ts'
import type { Protocol } from '../state/watch.ts'

export function StreamList() {
  const list = streams.value
  return (
    <section class="card" aria-labelledby="streams-title">
      <div class="card-head">
        <h2 id="streams-title">Live streams</h2>
        <span class="count">{list.length}</span>
      </div>
      <div data-testid="streams">
        {list.length === 0 ? (
          <p class="empty">Nothing is live. Publish above, or with a program of your own below.</p>
        ) : (
          <table>
            <thead>
              <tr>
                <th>Stream</th>
                <th class="number">Publishers</th>
                <th class="number">Players</th>
                <th>
                  <span class="unseen">Watch</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((stream) => (
                <Row key={stream.key} stream={stream} />
              ))}
            </tbody>
          </table>
        )}
      </div>
    </section>
  )
}

function Row({ stream }: { readonly stream: LiveStream }) {
  const { app, key, players, publishers, stream: name } = stream
  const play = (protocol: Protocol): void => {
    document.getElementById('watch')?.scrollIntoView({ behavior: 'smooth', block: 'nearest' })
    void watch(`${app}/${name}`, protocol)
  }
  return (
    <tr data-key={key}>
      <td>
        <b>
          {app}/{name}
        </b>
      </td>
      <td class="number">{publishers}</td>
      <td class="number">{players}</td>
      <td class="actions">
        <button type="button" class="small" onClick={() => play('whep')}>
          WHEP
        </button>
        <button type="button" class="small" onClick={() => play('flv')}>
          HTTP-FLV
        </button>
      </td>
    </tr>
  )
}
