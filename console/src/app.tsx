import { useEffect } from 'preact/hooks'
import { Commands } from './components/commands.tsx'
import { Header } from './components/header.tsx'
import { PublishCard } from './components/publish-card.tsx'
import { StreamList } from './components/stream-list.tsx'
import { WatchCard } from './components/watch-card.tsx'
import { followGateway } from './state/gateway.ts'
import { stopPublishing } from './state/publish.ts'
import { stopWatching } from './state/watch.ts'

export function App() {
  useEffect(() => {
    const stopFollowing = followGateway()
    // A tab that closes ends its sessions, or the name would stay taken until the origin misses it.
    const leave = (): void => {
      void stopPublishing()
      void stopWatching()
    }
    addEventListener('pagehide', leave)
    return () => {
      stopFollowing()
      removeEventListener('pagehide', leave)
    }
  }, [])

  return (
    <>
      <Header />
      <main>
        <div class="stages">
          <PublishCard />
          <WatchCard />
        </div>
        <StreamList />
        <Commands />
      </main>
      <footer>
        Media goes through the gateway to the origin it picked. What is published by WHIP plays by WHEP; what
        is published by RTMP plays by RTMP and HTTP-FLV. Nothing is transcoded.
      </footer>
    </>
  )
}
