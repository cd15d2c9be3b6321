package bench

func oursReceive(int) contender { return contender{name: "ours"} }
func oursSend(int) contender    { return contender{name: "ours"} }
func scaleSuite() []contest     { return nil }
