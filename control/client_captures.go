package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oobnet/oobnet/stats"
)

// endTime is how long the server may take to end a capture, and to send what is
// left of it.
const endTime = 10 * time.Second

// Statistics returns what the stack has counted; of each socket, too, if asked.
func (c *Client) Statistics(ctx context.Context, sockets bool) (*stats.Snapshot, error) {
	return send[stats.Snapshot](ctx, c, http.MethodGet, "/v1/statistics", url.Values{"sockets": {strconv.FormatBool(sockets)}}, nil)
}

// Captures returns those that are running.
func (c *Client) Captures(ctx context.Context) ([]Capture, error) {
	out, err := get[Captures](ctx, c, "/v1/captures")
	if err != nil {
		return nil, err
	}
	return out.Captures, nil
}

// EndCapture ends a capture: its reader gets what is left, and the statistics.
// ESRCH if none of this number is running.
func (c *Client) EndCapture(ctx context.Context, id int) (*Capture, error) {
	return send[Capture](ctx, c, http.MethodDelete, "/v1/captures/"+strconv.Itoa(id), nil, nil)
}

// Capture writes what a device receives and sends to w, until the context ends,
// which is no error: the server is told to end, and what is left of the capture
// is written as well. It also returns when the capture has ended by itself, after
// Count frames. Errors are those of capture.Start, EBUSY where as many
// captures run as may, those of w, and what ended the capture otherwise.
func (c *Client) Capture(ctx context.Context, device string, in CaptureRequest, w io.Writer) error {
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// Until the capture has begun, the end of the context is the end.
	begun := context.AfterFunc(ctx, cancel)
	answer, err := c.ask(reading, http.MethodGet, "/v1/devices/"+device+"/capture", in.query(), nil)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	defer answer.Body.Close()
	begun()
	ended := context.AfterFunc(ctx, func() {
		timeout := time.AfterFunc(endTime, cancel)
		defer timeout.Stop()
		if id, err := strconv.Atoi(answer.Header.Get(captureHeader)); err == nil {
			if _, err := c.EndCapture(reading, id); err == nil {
				return
			}
		}
		cancel() // the server is gone, or the capture: what has come is all
	})
	defer ended()
	if _, err := io.Copy(w, answer.Body); err != nil {
		if reading.Err() != nil {
			return fmt.Errorf("control: %s: the server has not ended the capture within %v", c.path, endTime)
		}
		return c.explain(err)
	}
	if why := answer.Trailer.Get(captureTrailer); why != "" {
		return errors.New(why)
	}
	return nil
}

func (in *CaptureRequest) query() url.Values {
	q := url.Values{}
	for name, text := range map[string]string{
		"filter": in.Filter, "format": in.Format, "snap": strconv.Itoa(in.Snap), "slots": strconv.Itoa(in.Slots), "count": strconv.FormatUint(in.Count, 10),
	} {
		if text != "" && text != "0" {
			q.Set(name, text)
		}
	}
	return q
}
