package ixgbetrace

import (
	"fmt"
	"strings"
)

// bit names a bit, or a field, of a register.
type bit struct {
	mask uint32
	name string
}

// bits are those that drivers differ in, by the datasheet's names.
var bits = map[string][]bit{
	"CTRL":       {{1 << 2, "PCIe master disable"}, {1 << 3, "LRST"}, {1 << 26, "RST"}},
	"CTRL_EXT":   {{1 << 14, "PFRSTD"}, {1 << 16, "NS_DIS"}, {1 << 17, "RO_DIS"}, {1 << 26, "extended VLAN"}, {1 << 28, "DRV_LOAD"}},
	"FCTRL":      {{1 << 1, "SBP"}, {1 << 8, "MPE"}, {1 << 9, "UPE"}, {1 << 10, "BAM"}, {1 << 12, "PMCF"}, {1 << 13, "DPF"}},
	"VLNCTRL":    {{0xffff, "VET"}, {1 << 28, "CFI"}, {1 << 29, "CFIEN"}, {1 << 30, "VFE"}},
	"MCSTCTRL":   {{3, "MO"}, {1 << 2, "MFE"}},
	"RXCSUM":     {{1 << 12, "IPPCSE"}, {1 << 13, "PCSD"}},
	"MRQC":       {{0xf, "MRQE"}, {1 << 16, "TCP/IPv4"}, {1 << 17, "IPv4"}, {1 << 20, "IPv6"}, {1 << 21, "TCP/IPv6"}, {1 << 22, "UDP/IPv4"}, {1 << 23, "UDP/IPv6"}},
	"RXCTRL":     {{1, "RXEN"}},
	"RDRXCTL":    {{1, "RDMTS"}, {1 << 1, "CRCStrip"}, {1 << 3, "DMAIDONE"}, {0x1f << 17, "RSCFRSTSIZE"}, {1 << 25, "RSCACKC"}, {1 << 26, "FCOE_WRFIX"}},
	"HLREG0":     {{1, "TXCRCEN"}, {1 << 1, "RXCRCSTRP"}, {1 << 2, "JUMBOEN"}, {1 << 10, "TXPADEN"}, {1 << 15, "LPBK"}, {3 << 16, "MDCSPD"}, {1 << 17, "CONTMDC"}, {1 << 27, "RXLNGTHERREN"}, {1 << 28, "RXPADSTRIPEN"}},
	"SRRCTL":     {{0x1f, "BSIZEPACKET"}, {0xf << 8, "BSIZEHEADER"}, {7 << 22, "RDMTS"}, {7 << 25, "DESCTYPE"}, {1 << 28, "Drop_En"}},
	"RXDCTL":     {{0x3fff, "RLPML"}, {1 << 15, "RLPML_EN"}, {1 << 25, "ENABLE"}, {1 << 30, "VME"}},
	"TXDCTL":     {{0x7f, "PTHRESH"}, {0x7f << 8, "HTHRESH"}, {0x7f << 16, "WTHRESH"}, {1 << 25, "ENABLE"}, {1 << 26, "SWFLSH"}},
	"RSCCTL":     {{1, "RSCEN"}, {3 << 2, "MAXDESC"}},
	"DMATXCTL":   {{1, "TE"}, {1 << 3, "GDV"}, {0xffff << 16, "VT"}},
	"DCA_RXCTRL": {{1 << 5, "descriptor DCA"}, {1 << 6, "header DCA"}, {1 << 7, "payload DCA"}, {1 << 9, "descriptor relaxed order"}, {1 << 11, "write-back relaxed order"}, {1 << 13, "data relaxed order"}, {1 << 15, "header relaxed order"}},
	"DCA_TXCTRL": {{1 << 5, "descriptor DCA"}, {1 << 9, "descriptor relaxed order"}, {1 << 11, "write-back relaxed order"}, {1 << 13, "data relaxed order"}},
	"GPIE":       {{1 << 4, "Multiple_MSIX"}, {1 << 5, "OCD"}, {1 << 1, "SDP0_GPIEN"}, {1 << 2, "SDP1_GPIEN"}, {1 << 3, "SDP2_GPIEN"}, {0xf << 11, "VT mode, RSC delay"}, {1 << 30, "EIAME"}, {1 << 31, "PBA_support"}},
	"RTTDCS":     {{1, "TDPAC"}, {1 << 4, "TDRM"}, {1 << 6, "ARBDIS"}, {1 << 22, "BDPM"}, {1 << 23, "BPBFSM"}},
	"MTQC":       {{1, "RT_Ena"}, {2, "VT_Ena"}, {0xc, "NUM_TC_OR_Q"}},
	"SECRXCTRL":  {{1, "SECRX_DIS"}, {2, "RX_DIS"}},
	"SECTXCTRL":  {{1, "SECTX_DIS"}, {2, "TX_DIS"}},
	"AUTOC":      {{1, "FLU"}, {1 << 12, "Restart_AN"}, {7 << 13, "LMS"}, {3 << 7, "10G_PMA_PMD"}, {1 << 9, "1G_PMA_PMD"}, {3 << 30, "KX4/KX support"}},
	"ESDP":       {{0xff, "SDP data"}, {0xff << 8, "SDP direction"}, {0xff << 16, "SDP function"}},
	"FCCFG":      {{3 << 3, "TFCE"}},
	"MFLCN":      {{1, "PMCF"}, {2, "DPF"}, {4, "RPFCE"}, {8, "RFCE"}},
	"SWSM":       {{1, "SMBI"}, {2, "SWESMBI"}},
	"FDIRCTRL":   {{3, "PBALLOC"}, {1 << 3, "INIT_DONE"}, {1 << 4, "PERFECT_MATCH"}, {1 << 5, "REPORT_STATUS"}},
	"ETQF":       {{0xffff, "EtherType"}, {1 << 30, "1588"}, {1 << 31, "enable"}},
	"TSYNCRXCTL": {{1, "RXTT"}, {7 << 1, "type"}, {1 << 4, "enable"}},
	"TSYNCTXCTL": {{1, "TXTT"}, {1 << 4, "enable"}},
	"GCR_EXT":    {{3, "VT mode"}, {1 << 30, "buffers clear"}},
}

// explain says which bits of a register are set in a and not in b, and what
// fields are in a that are not the same in b.
func explain(register string, a, b uint32) string {
	var only []string
	for _, f := range bits[register] {
		if (a^b)&f.mask == 0 {
			continue
		}
		switch lowest := f.mask & -f.mask; {
		case f.mask != lowest:
			only = append(only, fmt.Sprintf("%s %#x", f.name, a&f.mask/lowest))
		case a&f.mask != 0:
			only = append(only, f.name)
		}
	}
	return strings.Join(only, ", ")
}
