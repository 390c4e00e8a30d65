import { render } from 'preact'
import { App } from './app.tsx'
import './style/base.css'
import './style/page.css'

const root = document.getElementById('app')
if (root !== null) render(<App />, root)
